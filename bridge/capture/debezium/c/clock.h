/* Numbers, days and times of day as text.

   Days: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days. */

#ifndef BRIDGE_CLOCK_H
#define BRIDGE_CLOCK_H

enum { FIRST_DAY = -719162, LAST_DAY = 2932896 }; /* 0001-01-01 and 9999-12-31, from 1970 */

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

#endif
