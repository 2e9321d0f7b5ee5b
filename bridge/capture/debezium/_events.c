/* Reads the usual events of a table: JSON of Debezium's connector into lines of COPY text.

   A Reader takes what nearly all events are: a change of one row, whose fields are those of the
   table, each of the JSON type and form that is usual for its column. Whatever else comes (another
   field, a value that has to be judged, a syntax error) it leaves to rows.py, which takes or
   refuses it as if there were no reader, and which tests hold this file against. So nothing here
   has a message: not to take an event is never wrong.

   JSON is read as strictly as msgspec reads it there. Sources: RFC 8259; PostgreSQL's manual,
   COPY, "Text Format"; RFC 3629 (UTF-8); days to dates: H. Hinnant, "chrono-Compatible Low-Level
   Date Algorithms", civil_from_days. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 32 };                   /* arrays and objects within each other that are skipped */
enum { FIRST_DAY = -719162, LAST_DAY = 2932896 };     /* 0001-01-01 and 9999-12-31, from 1970 */
enum { NOT_TAKEN = -1, INSERT, UPDATE, DELETE };
enum { UNKNOWN = -1, NOT_JSON = -2 };                 /* fields that are none */

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
    char *bytes;
    Py_ssize_t used, room;
} Buffer;

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

/* -- a buffer ---------------------------------------------------------------------------------- */

static int
reserve(Buffer *buffer, Py_ssize_t more)
{
    if (buffer->room - buffer->used >= more) {
        return 1;
    }
    Py_ssize_t room = 2 * (buffer->used + more) + 256;
    char *bytes = PyMem_Realloc(buffer->bytes, room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    buffer->bytes = bytes;
    buffer->room = room;
    return 1;
}

static int
append(Buffer *buffer, const char *bytes, Py_ssize_t length)
{
    if (!reserve(buffer, length)) {
        return 0;
    }
    memcpy(buffer->bytes + buffer->used, bytes, length);
    buffer->used += length;
    return 1;
}

/* -- JSON -------------------------------------------------------------------------------------- */

typedef struct {
    const char *at, *end;
} Cursor;

typedef struct {
    const char *start;
    Py_ssize_t length;
    int escapes; /* holds a backslash */
    int wide;    /* holds a byte over 0x7F */
} String;

static void
skip_space(Cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t')) {
        c->at++;
    }
}

static int
take_char(Cursor *c, char wanted)
{
    skip_space(c);
    if (c->at < c->end && *c->at == wanted) {
        c->at++;
        return 1;
    }
    return 0;
}

static int
take_word(Cursor *c, const char *word, Py_ssize_t length)
{
    if (c->end - c->at < length || memcmp(c->at, word, length) != 0) {
        return 0;
    }
    c->at += length;
    return 1;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of a \u; -1 if there are none. */
static int
hex_unit(const char *at, const char *end)
{
    int unit = 0;
    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int four = hex_value(at[i]);
        if (four < 0) {
            return -1;
        }
        unit = unit << 4 | four;
    }
    return unit;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define ZERO_BYTES(word) (((word) - EACH(1)) & ~(word) & EACH(0x80))
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { STEP = 8 };
#else
enum { STEP = 1 };
#endif

/* How many bytes at `at` neither end a string, nor escape, nor may not stand in one: up to eight. */
static int
plain_bytes(const char *at, uint64_t *high)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    /* The lowest bit of these is right, whatever the others are. */
    uint64_t control = (word - EACH(0x20)) & ~word & EACH(0x80);
    uint64_t found = control | ZERO_BYTES(word ^ EACH('"')) | ZERO_BYTES(word ^ EACH('\\'));
    if (!found) {
        *high |= word;
        return STEP;
    }
    int bytes = __builtin_ctzll(found) >> 3;
    *high |= word & ((UINT64_C(1) << 8 * bytes) - 1);
    return bytes;
}

/* What stands behind a backslash; 0 if that is no escape. */
static int
take_escape(Cursor *c)
{
    if (c->at >= c->end) {
        return 0;
    }
    if (*c->at != 'u') {
        return memchr("\"\\/bfnrt", *c->at++, 8) != NULL;
    }
    if (hex_unit(c->at + 1, c->end) < 0) {
        return 0;
    }
    c->at += 5;
    return 1;
}

/* A string, the cursor at its quote; leaves the cursor behind it. */
static int
take_string(Cursor *c, String *string)
{
    uint64_t high = 0;
    if (c->at >= c->end || *c->at != '"') {
        return 0;
    }
    string->start = ++c->at;
    string->escapes = 0;
    for (;;) {
        int plain = STEP;
        while (plain == STEP && STEP > 1 && c->end - c->at >= STEP) {
            plain = plain_bytes(c->at, &high);
            c->at += plain;
        }
        if (c->at >= c->end) {
            return 0;
        }
        unsigned char byte = (unsigned char)*c->at++;
        if (byte == '"') {
            break;
        }
        if (byte < 0x20) {
            return 0;
        }
        high |= byte;
        if (byte == '\\') {
            string->escapes = 1;
            if (!take_escape(c)) {
                return 0;
            }
        }
    }
    string->length = c->at - 1 - string->start;
    string->wide = (high & EACH(0x80)) != 0;
    return 1;
}

static int
is_digit(const Cursor *c)
{
    return c->at < c->end && *c->at >= '0' && *c->at <= '9';
}

static int
take_digits(Cursor *c)
{
    const char *start = c->at;
    while (is_digit(c)) {
        c->at++;
    }
    return c->at > start;
}

/* A number; `whole`: it has neither a fraction nor an exponent. */
static int
take_number(Cursor *c, int *whole)
{
    *whole = 1;
    if (c->at < c->end && *c->at == '-') {
        c->at++;
    }
    const char *start = c->at;
    if (!take_digits(c) || (*start == '0' && c->at - start > 1)) {
        return 0;
    }
    if (c->at < c->end && *c->at == '.') {
        *whole = 0;
        c->at++;
        if (!take_digits(c)) {
            return 0;
        }
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        *whole = 0;
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-')) {
            c->at++;
        }
        if (!take_digits(c)) {
            return 0;
        }
    }
    return 1;
}

static int skip_value(Cursor *c, int depth);

static int
skip_members(Cursor *c, int depth, char last)
{
    String name;
    if (take_char(c, last)) {
        return 1;
    }
    do {
        skip_space(c);
        if (last == '}' && !(take_string(c, &name) && take_char(c, ':'))) {
            return 0;
        }
        if (!skip_value(c, depth)) {
            return 0;
        }
    } while (take_char(c, ','));
    return take_char(c, last);
}

static int
skip_value(Cursor *c, int depth)
{
    String string;
    int whole;
    skip_space(c);
    if (c->at >= c->end) {
        return 0;
    }
    switch (*c->at) {
    case '"':
        return take_string(c, &string);
    case 'n':
        return take_word(c, "null", 4);
    case 't':
        return take_word(c, "true", 4);
    case 'f':
        return take_word(c, "false", 5);
    case '{':
    case '[':
        return depth < DEEPEST && skip_members(c, depth + 1, *c->at++ == '{' ? '}' : ']');
    default:
        return take_number(c, &whole);
    }
}

static int
same(const String *string, PyObject *bytes)
{
    return string->length == PyBytes_GET_SIZE(bytes) &&
           memcmp(string->start, PyBytes_AS_STRING(bytes), string->length) == 0;
}

static int
is_word(const String *string, const char *word)
{
    return string->length == (Py_ssize_t)strlen(word) &&
           memcmp(string->start, word, string->length) == 0;
}

/* A name and its colon. One with an escape is none of ours. */
static int
take_name(Cursor *c, String *name)
{
    skip_space(c);
    return take_string(c, name) && !name->escapes && take_char(c, ':');
}

static int
take_integer(Cursor *c, long long *number)
{
    const char *start = c->at;
    int whole;
    if (!take_number(c, &whole) || !whole || c->at - start > 18) {
        return 0;
    }
    int negative = *start == '-';
    long long found = 0;
    for (const char *at = start + negative; at < c->at; at++) {
        found = 10 * found + (*at - '0');
    }
    *number = negative ? -found : found;
    return 1;
}

/* -- strings ----------------------------------------------------------------------------------- */

static int
is_utf8(const unsigned char *at, const unsigned char *end)
{
    while (at < end) {
        if (*at < 0x80) {
            at++;
            continue;
        }
        int more = *at >= 0xF0 ? 3 : *at >= 0xE0 ? 2 : 1;
        unsigned char low = 0x80, high = 0xBF;
        if (*at < 0xC2 || *at > 0xF4 || end - at <= more) {
            return 0;
        }
        switch (*at) { /* overlong forms, surrogates, beyond U+10FFFF */
        case 0xE0: low = 0xA0; break;
        case 0xED: high = 0x9F; break;
        case 0xF0: low = 0x90; break;
        case 0xF4: high = 0x8F; break;
        }
        if (at[1] < low || at[1] > high) {
            return 0;
        }
        for (int i = 2; i <= more; i++) {
            if ((at[i] & 0xC0) != 0x80) {
                return 0;
            }
        }
        at += more + 1;
    }
    return 1;
}

static char *
put_utf8(char *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    }
    else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 63));
    }
    else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    }
    else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 63));
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    }
    return to;
}

/* The character of a \u at `at` (behind the u), and how many bytes it took; 0 for half a pair. */
static int
take_unit(const char *at, const char *end, unsigned *code)
{
    *code = (unsigned)hex_unit(at, end);
    if (*code < 0xD800 || *code > 0xDFFF) {
        return 4;
    }
    if (*code > 0xDBFF || end - at < 10 || at[4] != '\\' || at[5] != 'u') {
        return 0;
    }
    int second = hex_unit(at + 6, end);
    if (second < 0xDC00 || second > 0xDFFF) {
        return 0;
    }
    *code = 0x10000 + ((*code - 0xD800) << 10) + ((unsigned)second - 0xDC00);
    return 10;
}

/* What a string with escapes says, as UTF-8; 0 if half a pair of surrogates is in it. */
static int
unescape(const String *string, char *to, Py_ssize_t *length)
{
    const char *at = string->start, *end = at + string->length, *first = to;
    while (at < end) {
        const char *next = memchr(at, '\\', end - at);
        Py_ssize_t plain = (next ? next : end) - at;
        memcpy(to, at, plain);
        to += plain;
        at += plain;
        if (next == NULL) {
            break;
        }
        char kind = at[1];
        at += 2;
        switch (kind) {
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': {
            unsigned code;
            int taken = take_unit(at, end, &code);
            if (!taken) {
                return 0;
            }
            to = put_utf8(to, code);
            at += taken;
            break;
        }
        default: *to++ = kind;
        }
    }
    *length = to - first;
    return 1;
}

static int
append_escaped(Buffer *buffer, const char *at, Py_ssize_t length)
{
    if (!reserve(buffer, 2 * length)) {
        return 0;
    }
    char *to = buffer->bytes + buffer->used;
    for (const char *end = at + length; at < end; at++) {
        char letter = *at == '\\' ? '\\' : *at == '\t' ? 't' : *at == '\n' ? 'n'
                    : *at == '\r' ? 'r' : 0;
        if (letter) {
            *to++ = '\\';
        }
        *to++ = letter ? letter : *at;
    }
    buffer->used = to - buffer->bytes;
    return 1;
}

static int
base64_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Bytes of base64 with its padding; -1 if it is none. `to` has room for three quarters of it. */
static Py_ssize_t
unbase64(const String *string, unsigned char *to)
{
    const unsigned char *at = (const unsigned char *)string->start;
    Py_ssize_t length = string->length;
    if (string->escapes || length % 4 != 0) {
        return -1;
    }
    int padding = length == 0 ? 0 : (at[length - 1] == '=') + (at[length - 1] == '=' &&
                                                               at[length - 2] == '=');
    unsigned char *first = to;
    for (Py_ssize_t i = 0; i < length; i += 4) {
        int sextets = i + 4 == length ? 4 - padding : 4;
        unsigned bits = 0;
        for (int j = 0; j < 4; j++) {
            int value = j < sextets ? base64_value(at[i + j]) : 0;
            if (value < 0) {
                return -1;
            }
            bits = bits << 6 | (unsigned)value;
        }
        *to++ = (unsigned char)(bits >> 16);
        if (sextets > 2) *to++ = (unsigned char)(bits >> 8);
        if (sextets > 3) *to++ = (unsigned char)bits;
    }
    return to - first;
}

/* -- numbers and times ------------------------------------------------------------------------- */

static char *
put_number(char *to, unsigned long long number, int width)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (; width > count; width--) {
        *to++ = '0';
    }
    while (count) {
        *to++ = digits[--count];
    }
    return to;
}

static char *
put_day(char *to, long long day)
{
    long long z = day + 719468, era = z / 146097; /* no day before year 1 comes here */
    long long doe = z - era * 146097;
    long long yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    long long doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    long long month = mp < 10 ? mp + 3 : mp - 9;
    to = put_number(to, (unsigned long long)(yoe + era * 400 + (month <= 2)), 4);
    *to++ = '-';
    to = put_number(to, (unsigned long long)month, 2);
    *to++ = '-';
    return put_number(to, (unsigned long long)(doy - (153 * mp + 2) / 5 + 1), 2);
}

static char *
put_clock(char *to, long long second)
{
    to = put_number(to, (unsigned long long)(second / 3600), 2);
    *to++ = ':';
    to = put_number(to, (unsigned long long)(second / 60 % 60), 2);
    *to++ = ':';
    return put_number(to, (unsigned long long)(second % 60), 2);
}

/* -- values of columns ------------------------------------------------------------------------- */

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

/* -- rows -------------------------------------------------------------------------------------- */

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

/* -- events ------------------------------------------------------------------------------------ */

typedef struct {
    int op;                    /* c, u or d */
    int before, after, source; /* whether they were there, and no null */
    Py_ssize_t key_end;
    long long ts_ms;
} Event;

/* The types are as envelope.Source has them; `ts_ms` may lack. */
static int
take_source(Reader *self, Cursor *c, Event *event)
{
    enum { DB = 1, TABLE = 2, FILE_NAME = 4, POS = 8, TS = 16, ROW = 32, GTID = 64, ALL = 15 };
    int found = 0;
    String name, string;
    long long number;
    if (!take_char(c, '{')) {
        return 0;
    }
    do {
        int what = 0;
        if (!take_name(c, &name)) {
            return 0;
        }
        skip_space(c);
        if (is_word(&name, "db")) {
            what = DB;
            if (!take_string(c, &string) || !same(&string, self->schema)) return 0;
        }
        else if (is_word(&name, "table")) {
            what = TABLE;
            if (!take_string(c, &string) || !same(&string, self->table)) return 0;
        }
        else if (is_word(&name, "file")) {
            what = FILE_NAME;
            if (!take_string(c, &string) || string.wide || string.escapes) return 0;
        }
        else if (is_word(&name, "pos")) {
            what = POS;
            if (!take_integer(c, &number)) return 0;
        }
        else if (is_word(&name, "ts_ms")) {
            what = TS;
            if (!take_integer(c, &event->ts_ms)) return 0;
        }
        else if (is_word(&name, "row")) {
            what = ROW;
            if (!take_word(c, "null", 4) && !take_integer(c, &number)) return 0;
        }
        else if (is_word(&name, "gtid")) {
            what = GTID;
            if (!take_word(c, "null", 4) &&
                (!take_string(c, &string) || string.wide || string.escapes)) return 0;
        }
        else if (is_word(&name, "snapshot")) {
            if (!take_word(c, "null", 4) && !take_word(c, "false", 5) &&
                (!take_string(c, &string) || !is_word(&string, "false"))) return 0;
        }
        else if (is_word(&name, "server_id")) {
            if (!take_integer(c, &number)) return 0;
        }
        else if (!skip_value(c, 0)) {
            return 0;
        }
        if (found & what) {
            return 0;
        }
        found |= what;
    } while (take_char(c, ','));
    return (found & ALL) == ALL && take_char(c, '}');
}

/* The block of provide.transaction.metadata, as envelope.InTransaction has it. */
static int
take_transaction(Cursor *c)
{
    enum { ID = 1, TOTAL = 2, COLLECTION = 4, ALL = 7 };
    int found = 0;
    String name, id;
    long long number;
    if (!take_char(c, '{')) {
        return 0;
    }
    do {
        if (!take_name(c, &name)) {
            return 0;
        }
        skip_space(c);
        int what = is_word(&name, "id")                      ? ID
                   : is_word(&name, "total_order")           ? TOTAL
                   : is_word(&name, "data_collection_order") ? COLLECTION
                                                             : 0;
        int taken = what == ID ? take_string(c, &id) && !id.wide && !id.escapes
                    : what     ? take_integer(c, &number)
                               : skip_value(c, 0);
        if (!taken || (found & what)) {
            return 0;
        }
        found |= what;
    } while (take_char(c, ','));
    return found == ALL && take_char(c, '}');
}

static int
take_member(Reader *self, Cursor *c, const String *name, Event *event)
{
    Py_ssize_t ignored;
    String op;
    skip_space(c);
    if (is_word(name, "after")) {
        if (event->after) {
            return 0;
        }
        if (take_word(c, "null", 4)) {
            return 1;
        }
        event->after = 1;
        return take_row(self, c, 0) && join(self, &self->line, self->count, &event->key_end);
    }
    if (is_word(name, "before")) {
        if (event->before) {
            return 0;
        }
        if (take_word(c, "null", 4)) {
            return 1;
        }
        event->before = 1;
        return take_row(self, c, 1) && join(self, &self->old, self->key, &ignored);
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

/* -- the type ---------------------------------------------------------------------------------- */

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
