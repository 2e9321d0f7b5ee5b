/* Reads the usual events of a table: JSON of Debezium's connector into lines of COPY text.

   A Reader takes what nearly all events are: a change of one row, whose fields are those of the
   table, each of the JSON type and form that is usual for its column. Whatever else comes (another
   field, a value that has to be judged, a syntax error) it leaves to rows.py, which takes or
   refuses it as if there were no reader, and which tests hold it against. So nothing here
   has a message: not to take an event is never wrong.

   Headers: json.h, text.h and clock.h know nothing of events; columns.h reads values, change.h the
   events; here is Python's side. One unit, so that the compiler sees all of it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "change.h"

enum { NOT_TAKEN = -1, INSERT, UPDATE, DELETE };

PyDoc_STRVAR(take_doc,
             "take(value, rows)\n--\n\n"
             "Puts an event's row into `rows` by key: its line, or None if it is gone.\n\n"
             "Which change it was: 0 insert, 1 update, 2 delete; -1 if it was not taken, and `rows`\n"
             "is as it was.");

static PyObject *
reader_take(Reader *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyBytes_Check(args[0]) || !PyDict_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "take(value: bytes, rows: dict)");
        return NULL;
    }
    Cursor c = {PyBytes_AS_STRING(args[0]), NULL};
    c.end = c.at + PyBytes_GET_SIZE(args[0]);
    if (self->head != NULL) {
        Py_ssize_t length = PyBytes_GET_SIZE(self->head);
        if (!length || c.end - c.at <= length || c.end[-1] != '}' ||
            memcmp(c.at, PyBytes_AS_STRING(self->head), length) != 0) {
            return PyLong_FromLong(NOT_TAKEN);
        }
        c.at += length;
        c.end--;
    }
    if (self->busy || c.end - c.at > self->limit) {
        return PyLong_FromLong(NOT_TAKEN);
    }
    Event event = {0};
    self->busy = 1;
    int taken = take_event(self, &c, &event);
    self->busy = 0;
    if (!taken) {
        /* A value that is refused is looked at again; what is no Exception is not. */
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
            return NULL;
        }
        PyErr_Clear();
        return PyLong_FromLong(NOT_TAKEN);
    }
    if (!put_rows(self, &event, args[1])) {
        return NULL;
    }
    self->ts_ms = event.ts_ms;
    return PyLong_FromLong(event.op == 'c' ? INSERT : event.op == 'u' ? UPDATE : DELETE);
}

static int
index_of(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            return i;
        }
    }
    PyErr_Format(PyExc_ValueError, "%s is not known", name);
    return -1;
}

/* Whether a second of so many units has so many digits of a fraction. */
static int
divides(long long unit, long long digits)
{
    for (; digits > 0 && unit % 10 == 0; digits--) {
        unit /= 10;
    }
    return unit > 0 && digits == 0;
}

static int
read_column(Column *column, PyObject *said)
{
    const char *form, *kind;
    PyObject *unavailable, *convert;
    if (!PyArg_ParseTuple(said, "sLLspOO", &form, &column->first, &column->second, &kind,
                          &column->nullable, &unavailable, &convert)) {
        return 0;
    }
    int form_index = index_of(form, FORM_NAMES, FORMS);
    int kind_index = index_of(kind, KIND_NAMES, KINDS);
    if (form_index < 0 || kind_index < 0) {
        return 0;
    }
    column->form = (enum Form)form_index;
    column->kind = (enum Kind)kind_index;
    if (column->form == SINCE && !divides(column->first, column->second)) {
        PyErr_SetString(PyExc_ValueError, "units of a second without its fraction");
        return 0;
    }
    column->unavailable = PyBytes_Check(unavailable) ? Py_NewRef(unavailable) : NULL;
    column->convert = Py_NewRef(convert);
    return 1;
}

static int
read_field(Field *field, PyObject *said, Py_ssize_t columns)
{
    if (!PyArg_ParseTuple(said, "Si", &field->name, &field->column)) {
        field->name = NULL;
        return 0;
    }
    Py_INCREF(field->name);
    if (field->column >= columns) {
        PyErr_SetString(PyExc_ValueError, "there is no such column");
        return 0;
    }
    return 1;
}

static int
read_parts(Reader *self, PyObject *columns, PyObject *fields)
{
    Py_ssize_t count = PyTuple_GET_SIZE(columns), field_count = PyTuple_GET_SIZE(fields);
    self->columns = PyMem_Calloc(count + 1, sizeof *self->columns);
    self->spans = PyMem_Calloc(count + 1, sizeof *self->spans);
    self->fields = PyMem_Calloc(field_count + 1, sizeof *self->fields);
    self->order = PyMem_Calloc(field_count + 1, sizeof *self->order);
    self->seen = PyMem_Calloc(field_count + 1, sizeof *self->seen);
    if (!self->columns || !self->spans || !self->fields || !self->order || !self->seen) {
        PyErr_NoMemory();
        return 0;
    }
    /* Counted one by one, so that what was not read is not let go of either. */
    for (; self->count < count; self->count++) {
        if (!read_column(&self->columns[self->count], PyTuple_GET_ITEM(columns, self->count))) {
            return 0;
        }
    }
    for (; self->field_count < field_count; self->field_count++) {
        Py_ssize_t place = self->field_count;
        if (!read_field(&self->fields[place], PyTuple_GET_ITEM(fields, place), count)) {
            return 0;
        }
        self->order[place] = (int)place;
    }
    return 1;
}

static PyObject *
reader_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *schema, *table, *columns, *fields, *head;
    Py_ssize_t key, limit;
    if (!PyArg_ParseTuple(args, "SSO!nO!On:Reader", &schema, &table, &PyTuple_Type, &columns, &key,
                          &PyTuple_Type, &fields, &head, &limit)) {
        return NULL;
    }
    if (key < 1 || key > PyTuple_GET_SIZE(columns)) {
        PyErr_SetString(PyExc_ValueError, "a key has at least one column");
        return NULL;
    }
    Reader *self = (Reader *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->schema = Py_NewRef(schema);
    self->table = Py_NewRef(table);
    self->key = key;
    self->limit = limit;
    self->head = PyBytes_Check(head) ? Py_NewRef(head) : NULL;
    if (!read_parts(self, columns, fields)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
reader_traverse(Reader *self, visitproc visit, void *arg)
{
    for (Py_ssize_t i = 0; self->columns && i < self->count; i++) {
        Py_VISIT(self->columns[i].convert);
    }
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int
reader_clear(Reader *self)
{
    for (Py_ssize_t i = 0; self->columns && i < self->count; i++) {
        Py_CLEAR(self->columns[i].convert);
    }
    return 0;
}

static void
reader_dealloc(Reader *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    reader_clear(self);
    for (Py_ssize_t i = 0; self->columns && i < self->count; i++) {
        Py_XDECREF(self->columns[i].unavailable);
    }
    for (Py_ssize_t i = 0; self->fields && i <= self->field_count; i++) {
        Py_XDECREF(self->fields[i].name);
    }
    Py_XDECREF(self->schema);
    Py_XDECREF(self->table);
    Py_XDECREF(self->head);
    PyMem_Free(self->columns);
    PyMem_Free(self->fields);
    PyMem_Free(self->order);
    PyMem_Free(self->seen);
    PyMem_Free(self->spans);
    PyMem_Free(self->text.bytes);
    PyMem_Free(self->line.bytes);
    PyMem_Free(self->old.bytes);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
set_head(Reader *self, PyObject *head, void *Py_UNUSED(closure))
{
    if (head == NULL || !PyBytes_Check(head)) {
        PyErr_SetString(PyExc_TypeError, "head is bytes");
        return -1;
    }
    Py_XSETREF(self->head, Py_NewRef(head));
    return 0;
}

static PyObject *
get_head(Reader *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->head ? self->head : Py_None);
}

static PyMethodDef reader_methods[] = {
    {"take", (PyCFunction)(void (*)(void))reader_take, METH_FASTCALL, take_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef reader_members[] = {
    {"ts_ms", T_LONGLONG, offsetof(Reader, ts_ms), READONLY,
     "The source's clock at the change that was taken last (ms since 1970)."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef reader_getset[] = {
    {"head", (getter)get_head, (setter)set_head,
     "What stands before the payload: of embedded schemas; None for events without.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(reader_doc,
             "Reader(schema, table, columns, key, fields, head, limit)\n--\n\n"
             "Takes the usual events of a table; see _events.pyi.");

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, (void *)reader_doc},
    {Py_tp_new, reader_new},
    {Py_tp_dealloc, reader_dealloc},
    {Py_tp_traverse, reader_traverse},
    {Py_tp_clear, reader_clear},
    {Py_tp_methods, reader_methods},
    {Py_tp_members, reader_members},
    {Py_tp_getset, reader_getset},
    {0, NULL},
};

static PyType_Spec reader_spec = {
    .name = "bridge.capture.debezium._events.Reader",
    .basicsize = sizeof(Reader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = reader_slots,
};

static int
fill_module(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&reader_spec);
    if (type == NULL) {
        return -1;
    }
    int failed = PyModule_AddObjectRef(module, "Reader", type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, fill_module},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_events",
    .m_doc = "Events of Debezium into COPY lines, compiled.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__events(void)
{
    return PyModuleDef_Init(&module_def);
}
