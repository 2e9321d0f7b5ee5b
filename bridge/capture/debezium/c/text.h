/* Bytes that grow, and what strings of JSON say: UTF-8 (RFC 3629), base64; and COPY text, whose
   escapes are in PostgreSQL's manual, COPY, "Text Format". */

#ifndef BRIDGE_TEXT_H
#define BRIDGE_TEXT_H

#include <Python.h>
#include <string.h>
#include "json.h"

typedef struct {
    char *bytes;
    Py_ssize_t used, room;
} Buffer;

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

#endif
