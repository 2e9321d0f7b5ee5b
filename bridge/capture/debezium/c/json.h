/* JSON (RFC 8259) without its values: a cursor goes over it, as strictly as msgspec does. */

#ifndef BRIDGE_JSON_H
#define BRIDGE_JSON_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { DEEPEST = 32 }; /* arrays and objects within each other that are skipped */

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
        int nibble = hex_value(at[i]);
        if (nibble < 0) {
            return -1;
        }
        unit = unit << 4 | nibble;
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

#endif
