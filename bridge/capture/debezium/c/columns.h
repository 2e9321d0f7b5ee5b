/* A reader's columns: their values, each as its form has it, into COPY text. */

#ifndef BRIDGE_COLUMNS_H
#define BRIDGE_COLUMNS_H

#include <Python.h>
#include <stdint.h>
#include <string.h>
#include "clock.h"
#include "json.h"
#include "text.h"

/* How a column's text is made; `first` and `second` are as bridge.types.events.Form tells. */
enum Form { CALL, INTEGER, TEXT, UNSCALED, PRINTED, DAY, SINCE, UTC, FORMS };
static const char *const FORM_NAMES[] = {"call",    "integer", "text",  "unscaled",
                                         "printed", "day",     "since", "utc"};

/* What JSON a `call` is given. */
enum Kind { AN_INT, A_STR, SOME_BYTES, A_FLOAT, A_BOOL, ANY, KINDS };
static const char *const KIND_NAMES[] = {"int", "str", "bytes", "float", "bool", "any"};

typedef struct {
    enum Form form;
    enum Kind kind;
    int nullable;
    long long first, second;
    PyObject *unavailable; /* bytes: the text that stands for a value, or NULL */
    PyObject *convert;     /* a value -> bytes of COPY text; raises what it cannot take */
} Column;

typedef struct {
    PyObject *name; /* bytes, as JSON has it */
    int column;     /* its place in a line, or -1: it is not carried */
} Field;

typedef struct {
    Py_ssize_t start, length;
} Span;

typedef struct {
    PyObject_HEAD
    PyObject *schema, *table; /* bytes: names in the events' source */
    Py_ssize_t count, key, field_count, limit;
    Column *columns;
    Field *fields;
    int *order;      /* which field came at each place of the last row */
    unsigned *seen;  /* by field: the row that it was last seen in */
    unsigned row;
    Span *spans;     /* by column: its text, in `text` */
    Buffer text, line, old;
    PyObject *head;  /* bytes: what stands before the payload, with its schema */
    int busy;
    long long ts_ms;
} Reader;

/* The result of a call: 1, or 0 with no error for a value that is refused. */
static int
append_converted(Buffer *text, const Column *column, PyObject *value)
{
    if (value == NULL) {
        return 0;
    }
    PyObject *found = PyObject_CallOneArg(column->convert, value);
    Py_DECREF(value);
    if (found == NULL) {
        return 0;
    }
    int done = PyBytes_Check(found) &&
               append(text, PyBytes_AS_STRING(found), PyBytes_GET_SIZE(found));
    Py_DECREF(found);
    return done;
}

static int
call_with_string(Reader *self, const Column *column, const String *string)
{
    Buffer *text = &self->text;
    const char *start = string->start;
    Py_ssize_t length = string->length;
    if (string->escapes) {
        if (!reserve(text, length) || !unescape(string, text->bytes + text->used, &length)) {
            return 0;
        }
        start = text->bytes + text->used;
    }
    return append_converted(text, column, PyUnicode_DecodeUTF8(start, length, "strict"));
}

static int
call_with_bytes(Reader *self, const Column *column, const String *string)
{
    Buffer *text = &self->text;
    if (!reserve(text, string->length)) {
        return 0;
    }
    char *to = text->bytes + text->used;
    Py_ssize_t length = unbase64(string, (unsigned char *)to);
    return length >= 0 &&
           append_converted(text, column, PyBytes_FromStringAndSize(to, length));
}

static int
call_with_number(Reader *self, const Column *column, Cursor *c)
{
    char digits[40];
    const char *start = c->at;
    int whole;
    if (!take_number(c, &whole) || c->at - start >= (Py_ssize_t)sizeof digits) {
        return 0;
    }
    memcpy(digits, start, c->at - start);
    digits[c->at - start] = 0;
    if (column->kind == A_FLOAT) {
        double number = PyOS_string_to_double(digits, NULL, NULL);
        if (number == -1.0 && PyErr_Occurred()) {
            return 0;
        }
        return append_converted(&self->text, column, PyFloat_FromDouble(number));
    }
    return whole &&
           append_converted(&self->text, column, PyLong_FromString(digits, NULL, 10));
}

static int
take_called(Reader *self, const Column *column, Cursor *c)
{
    String string;
    switch (column->kind) {
    case A_STR:
        return take_string(c, &string) && call_with_string(self, column, &string);
    case SOME_BYTES:
        return take_string(c, &string) && call_with_bytes(self, column, &string);
    case AN_INT:
    case A_FLOAT:
        return call_with_number(self, column, c);
    case A_BOOL: {
        int truth = take_word(c, "true", 4);
        if (!truth && !take_word(c, "false", 5)) {
            return 0;
        }
        return append_converted(&self->text, column, PyBool_FromLong(truth));
    }
    default: {
        const char *start = c->at;
        return skip_value(c, 0) &&
               append_converted(&self->text, column, PyBytes_FromStringAndSize(start, c->at - start));
    }
    }
}

/* `first`: only ASCII passes as it is; `second`: the most characters, or -1. */
static int
take_text(Reader *self, const Column *column, Cursor *c)
{
    Buffer *text = &self->text;
    String string;
    if (!take_string(c, &string)) {
        return 0;
    }
    const char *start = string.start;
    Py_ssize_t length = string.length;
    int wide = string.wide;
    if (string.escapes) {
        /* What is unescaped lies behind where it is escaped to, at most twice as long. */
        if (!reserve(text, 3 * length)) {
            return 0;
        }
        char *to = text->bytes + text->used + 2 * length;
        if (!unescape(&string, to, &length)) {
            return 0;
        }
        start = to;
        for (Py_ssize_t i = 0; i < length; i++) {
            wide |= (to[i] & 0x80) != 0;
        }
    }
    if (wide && !is_utf8((const unsigned char *)start, (const unsigned char *)start + length)) {
        return 0;
    }
    if (column->unavailable && length == PyBytes_GET_SIZE(column->unavailable) &&
        memcmp(start, PyBytes_AS_STRING(column->unavailable), length) == 0) {
        return 0;
    }
    if ((wide && column->first) || (column->second >= 0 && length > column->second) ||
        (string.escapes && memchr(start, 0, length))) {
        return call_with_string(self, column, &string);
    }
    return string.escapes ? append_escaped(text, start, length) : append(text, start, length);
}

static int
take_integer_text(Reader *self, Cursor *c)
{
    const char *start = c->at;
    int whole;
    if (!take_number(c, &whole) || !whole || (*start == '-' && start[1] == '0')) {
        return 0;
    }
    return append(&self->text, start, c->at - start);
}

/* `first`: digits after the point. Numbers of more than eight bytes are converted. */
static int
take_unscaled(Reader *self, const Column *column, Cursor *c)
{
    Buffer *text = &self->text;
    unsigned char bytes[9];
    String string;
    if (!take_string(c, &string)) {
        return 0;
    }
    Py_ssize_t length = string.length > 12 ? -1 : unbase64(&string, bytes);
    if (length < 1 || length > 8 || column->first > 18) {
        return call_with_bytes(self, column, &string);
    }
    if (!reserve(text, 48)) {
        return 0;
    }
    uint64_t number = bytes[0] & 0x80 ? ~UINT64_C(0) : 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        number = number << 8 | bytes[i];
    }
    char *to = text->bytes + text->used;
    if (number >> 63) {
        *to++ = '-';
        number = ~number + 1;
    }
    uint64_t unit = 1;
    for (long long i = 0; i < column->first; i++) {
        unit *= 10;
    }
    to = put_number(to, number / unit, 1);
    if (column->first) {
        *to++ = '.';
        to = put_number(to, number % unit, (int)column->first);
    }
    text->used = to - text->bytes;
    return 1;
}

/* A decimal in a string; one with an exponent is converted. */
static int
take_printed(Reader *self, const Column *column, Cursor *c)
{
    String string;
    int whole;
    if (!take_string(c, &string) || string.escapes || memchr(string.start, 'e', string.length)) {
        return 0;
    }
    if (memchr(string.start, 'E', string.length)) {
        return call_with_string(self, column, &string);
    }
    Cursor inner = {string.start, string.start + string.length};
    return take_number(&inner, &whole) && inner.at == inner.end &&
           append(&self->text, string.start, string.length);
}

static int
take_day(Reader *self, Cursor *c)
{
    long long day;
    if (!take_integer(c, &day) || day < FIRST_DAY || day > LAST_DAY || !reserve(&self->text, 48)) {
        return 0;
    }
    self->text.used = put_day(self->text.bytes + self->text.used, day) - self->text.bytes;
    return 1;
}

/* `first`: units in a second; `second`: digits of the fraction. */
static int
take_since(Reader *self, const Column *column, Cursor *c)
{
    Buffer *text = &self->text;
    /* 19 digits: nanoseconds since 1970 pass 18 of them in 2001. */
    const char *start = c->at;
    int whole;
    if (!take_number(c, &whole) || !whole || c->at - start > 19 || !reserve(text, 48)) {
        return 0;
    }
    int negative = *start == '-';
    uint64_t size = 0;
    for (const char *at = start + negative; at < c->at; at++) {
        size = 10 * size + (uint64_t)(*at - '0');
    }
    if (size > INT64_MAX) {
        return 0;
    }
    long long value = negative ? -(long long)size : (long long)size;
    long long unit = column->first, second = value / unit, part = value % unit;
    if (part < 0) {
        part += unit;
        second--;
    }
    long long day = second / 86400, clock = second % 86400;
    if (clock < 0) {
        clock += 86400;
        day--;
    }
    if (day < FIRST_DAY || day > LAST_DAY || (part && !column->second)) {
        return 0;
    }
    char *to = put_day(text->bytes + text->used, day);
    *to++ = ' ';
    to = put_clock(to, clock);
    if (column->second) {
        long long step = unit;
        for (long long i = 0; i < column->second; i++) {
            step /= 10;
        }
        *to++ = '.';
        to = put_number(to, (unsigned long long)(part / step), (int)column->second);
    }
    text->used = to - text->bytes;
    return 1;
}

/* ``2024-01-31T12:00:00.500Z``, `first` characters long; any other form is converted. */
static int
take_utc(Reader *self, const Column *column, Cursor *c)
{
    static const char FORM[] = "dddd-dd-ddTdd:dd:dd.";
    String string;
    if (!take_string(c, &string)) {
        return 0;
    }
    Py_ssize_t last = (Py_ssize_t)column->first - 1;
    if (string.length != column->first || last < 19 || string.start[last] != 'Z') {
        return call_with_string(self, column, &string);
    }
    for (Py_ssize_t i = 0; i < last; i++) {
        char wanted = i < (Py_ssize_t)sizeof FORM - 1 ? FORM[i] : 'd', found = string.start[i];
        if (wanted == 'd' ? found < '0' || found > '9' : found != wanted) {
            return call_with_string(self, column, &string);
        }
    }
    Py_ssize_t at = self->text.used;
    if (!append(&self->text, string.start, last)) {
        return 0;
    }
    self->text.bytes[at + 10] = ' ';
    return 1;
}

static int
take_column(Reader *self, int place, Cursor *c)
{
    const Column *column = &self->columns[place];
    Span *span = &self->spans[place];
    int done;
    span->start = self->text.used;
    skip_space(c);
    if (column->nullable && take_word(c, "null", 4)) {
        done = append(&self->text, "\\N", 2);
    }
    else {
        switch (column->form) {
        case INTEGER: done = take_integer_text(self, c); break;
        case TEXT: done = take_text(self, column, c); break;
        case UNSCALED: done = take_unscaled(self, column, c); break;
        case PRINTED: done = take_printed(self, column, c); break;
        case DAY: done = take_day(self, c); break;
        case SINCE: done = take_since(self, column, c); break;
        case UTC: done = take_utc(self, column, c); break;
        default: done = take_called(self, column, c);
        }
    }
    span->length = self->text.used - span->start;
    return done;
}

#endif
