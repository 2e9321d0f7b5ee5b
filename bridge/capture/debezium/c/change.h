/* A change of a row: its envelope, and its row as a line. */

#ifndef BRIDGE_CHANGE_H
#define BRIDGE_CHANGE_H

#include <Python.h>
#include "columns.h"

enum { UNKNOWN = -1, NOT_JSON = -2 }; /* fields that are none */

/* Whether the field that came at this place of the last row comes again; then it is passed. */
static int
take_usual_field(Reader *self, Py_ssize_t place, Cursor *c)
{
    if (place >= self->field_count) {
        return 0;
    }
    PyObject *name = self->fields[self->order[place]].name;
    Py_ssize_t length = PyBytes_GET_SIZE(name);
    const char *at = c->at;
    if (c->end - at < length + 3 || *at != '"' ||
        memcmp(at + 1, PyBytes_AS_STRING(name), length) != 0 || at[length + 1] != '"') {
        return 0;
    }
    c->at += length + 2;
    return 1;
}

/* The next field's number, the cursor behind its colon; or UNKNOWN, or NOT_JSON. */
static int
take_field(Reader *self, Py_ssize_t place, Cursor *c)
{
    String name;
    skip_space(c);
    if (take_usual_field(self, place, c)) {
        return take_char(c, ':') ? self->order[place] : NOT_JSON;
    }
    if (!take_name(c, &name)) {
        return NOT_JSON;
    }
    for (int field = 0; field < self->field_count; field++) {
        if (same(&name, self->fields[field].name)) {
            if (place < self->field_count) {
                self->order[place] = field;
            }
            return field;
        }
    }
    return UNKNOWN;
}

/* A row, or only its key, whose other fields may be any. Each column's text is in `spans` then. */
static int
take_row(Reader *self, Cursor *c, int only_key)
{
    Py_ssize_t wanted = only_key ? self->key : self->count, found = 0;
    self->text.used = 0;
    self->row++;
    if (!take_char(c, '{')) {
        return 0;
    }
    for (Py_ssize_t place = 0; place == 0 || take_char(c, ','); place++) {
        int field = take_field(self, place, c);
        int column = field < 0 ? -1 : self->fields[field].column;
        if (field == NOT_JSON || (field == UNKNOWN && !only_key) ||
            (field >= 0 && self->seen[field] == self->row)) {
            return 0;
        }
        if (field >= 0) {
            self->seen[field] = self->row;
        }
        if (column >= 0 && column < wanted) {
            if (!take_column(self, column, c)) {
                return 0;
            }
            found++;
        }
        else if (!skip_value(c, 0)) {
            return 0;
        }
    }
    return found == wanted && take_char(c, '}');
}

/* The first columns as a line; `key_end` is where those of the key end. */
static int
join(Reader *self, Buffer *line, Py_ssize_t count, Py_ssize_t *key_end)
{
    line->used = 0;
    if (!reserve(line, self->text.used + count)) {
        return 0;
    }
    char *to = line->bytes;
    *key_end = 0;
    for (Py_ssize_t place = 0; place < count; place++) {
        if (place) {
            *to++ = '\t';
        }
        memcpy(to, self->text.bytes + self->spans[place].start, self->spans[place].length);
        to += self->spans[place].length;
        if (place == self->key - 1) {
            *key_end = to - line->bytes;
        }
    }
    line->used = to - line->bytes;
    return 1;
}

typedef struct {
    int op;                    /* c, u or d */
    int before, after, source; /* whether they were there, and no null */
    Py_ssize_t key_end;
    long long ts_ms;
} Event;

/* A member of a block whose type is known: which, whether it may be null or may lack. */
typedef struct {
    const char *name;
    Py_ssize_t length;
    enum { NAMED, A_TEXT, A_NUMBER, NO_SNAPSHOT } type;
    int nullable, needed;
    PyObject *is;   /* of a NAMED one: bytes */
    long long *into; /* of a number that is wanted, or NULL */
} Member;

#define MEMBER(name, type, nullable, needed, ...) \
    {name, sizeof name - 1, type, nullable, needed, __VA_ARGS__}

static int
take_known(Cursor *c, const Member *member)
{
    String string;
    long long number;
    if (member->nullable && take_word(c, "null", 4)) {
        return 1;
    }
    switch (member->type) {
    case NAMED:
        return take_string(c, &string) && same(&string, member->is);
    case A_TEXT:
        return take_string(c, &string) && !string.wide && !string.escapes;
    case A_NUMBER:
        return take_integer(c, member->into ? member->into : &number);
    default: /* a change that was logged */
        return take_word(c, "false", 5) || (take_string(c, &string) && is_word(&string, "false"));
    }
}

/* An object with these members, and any others. */
static int
take_block(Cursor *c, const Member *members, int count)
{
    unsigned found = 0;
    String name;
    if (!take_char(c, '{')) {
        return 0;
    }
    do {
        int place = 0;
        if (!take_name(c, &name)) {
            return 0;
        }
        skip_space(c);
        while (place < count && (members[place].length != name.length ||
                                 memcmp(members[place].name, name.start, name.length) != 0)) {
            place++;
        }
        if (place == count ? !skip_value(c, 0) : !take_known(c, &members[place])) {
            return 0;
        }
        if (place < count && found & 1u << place) {
            return 0;
        }
        found |= place < count ? 1u << place : 0;
    } while (take_char(c, ','));
    for (int place = 0; place < count; place++) {
        if (members[place].needed && !(found & 1u << place)) {
            return 0;
        }
    }
    return take_char(c, '}');
}

/* The types are as envelope.Source has them. */
static int
take_source(Reader *self, Cursor *c, Event *event)
{
    const Member members[] = {
        MEMBER("ts_ms", A_NUMBER, 0, 0, NULL, &event->ts_ms),
        MEMBER("snapshot", NO_SNAPSHOT, 1, 0, NULL, NULL),
        MEMBER("db", NAMED, 0, 1, self->schema, NULL),
        MEMBER("table", NAMED, 0, 1, self->table, NULL),
        MEMBER("server_id", A_NUMBER, 0, 0, NULL, NULL),
        MEMBER("gtid", A_TEXT, 1, 0, NULL, NULL),
        MEMBER("file", A_TEXT, 0, 1, NULL, NULL),
        MEMBER("pos", A_NUMBER, 0, 1, NULL, NULL),
        MEMBER("row", A_NUMBER, 1, 0, NULL, NULL),
    };
    return take_block(c, members, sizeof members / sizeof *members);
}

/* The block of provide.transaction.metadata, as envelope.InTransaction has it. */
static int
take_transaction(Cursor *c)
{
    static const Member members[] = {
        MEMBER("id", A_TEXT, 0, 1, NULL, NULL),
        MEMBER("total_order", A_NUMBER, 0, 1, NULL, NULL),
        MEMBER("data_collection_order", A_NUMBER, 0, 1, NULL, NULL),
    };
    return take_block(c, members, sizeof members / sizeof *members);
}

/* A row before or after the change, or null; `there`: whether it was not. */
static int
take_image(Reader *self, Cursor *c, int only_key, int *there, Py_ssize_t *key_end)
{
    if (*there) {
        return 0;
    }
    if (take_word(c, "null", 4)) {
        return 1;
    }
    *there = 1;
    return take_row(self, c, only_key) &&
           (only_key ? join(self, &self->old, self->key, key_end)
                     : join(self, &self->line, self->count, key_end));
}

static int
take_member(Reader *self, Cursor *c, const String *name, Event *event)
{
    Py_ssize_t ignored;
    String op;
    skip_space(c);
    if (is_word(name, "after")) {
        return take_image(self, c, 0, &event->after, &event->key_end);
    }
    if (is_word(name, "before")) {
        return take_image(self, c, 1, &event->before, &ignored);
    }
    if (is_word(name, "source")) {
        return !event->source++ && take_source(self, c, event);
    }
    if (is_word(name, "op")) {
        if (event->op || !take_string(c, &op) || op.length != 1) {
            return 0;
        }
        event->op = *op.start;
        return 1;
    }
    if (is_word(name, "transaction")) {
        return take_word(c, "null", 4) || take_transaction(c);
    }
    return skip_value(c, 0);
}

/* Reads a whole event: its line and its old key are in `line` and `old` then. */
static int
take_event(Reader *self, Cursor *c, Event *event)
{
    String name;
    if (!take_char(c, '{')) {
        return 0;
    }
    do {
        if (!take_name(c, &name) || !take_member(self, c, &name, event)) {
            return 0;
        }
    } while (take_char(c, ','));
    if (!take_char(c, '}')) {
        return 0;
    }
    skip_space(c);
    if (c->at != c->end || !event->source) {
        return 0;
    }
    switch (event->op) {
    case 'c': return event->after && !event->before;
    case 'u': return event->after && event->before;
    case 'd': return event->before && !event->after;
    default: return 0;
    }
}

static int
set_row(PyObject *rows, const char *key, Py_ssize_t length, PyObject *line)
{
    PyObject *name = PyBytes_FromStringAndSize(key, length);
    int done = name != NULL && line != NULL && PyDict_SetItem(rows, name, line) == 0;
    Py_XDECREF(name);
    return done;
}

static int
put_rows(Reader *self, const Event *event, PyObject *rows)
{
    const Buffer *line = &self->line, *old = &self->old;
    Py_ssize_t length = event->key_end;
    int kept = event->before && event->after && old->used == length &&
               memcmp(old->bytes, line->bytes, length) == 0;
    if (event->before && !kept && !set_row(rows, old->bytes, old->used, Py_None)) {
        return 0;
    }
    if (!event->after) {
        return 1;
    }
    PyObject *whole = PyBytes_FromStringAndSize(line->bytes, line->used);
    int done = set_row(rows, line->bytes, length, whole);
    Py_XDECREF(whole);
    return done;
}

#endif
