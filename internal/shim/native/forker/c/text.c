// The little that is needed of strings.
#include "forker.h"

// The compiler itself calls these two.
void *memcpy(void *to, const void *from, unsigned long n)
{
	u8 *t = to;
	const u8 *f = from;
	while (n--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int byte, unsigned long n)
{
	u8 *t = to;
	while (n--)
		*t++ = (u8)byte;
	return to;
}

u32 length(const char *s)
{
	u32 n = 0;
	while (s[n])
		n++;
	return n;
}

int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

// append writes s at a place, as far as there is room before end for it and a 0,
// and gives the place of the 0.
char *append(char *at, const char *end, const char *s)
{
	while (*s && at + 1 < end)
		*at++ = *s++;
	*at = 0;
	return at;
}

char *append_number(char *at, const char *end, u64 n)
{
	char digits[21], *d = digits + sizeof digits;
	*--d = 0;
	do
		*--d = (char)('0' + n % 10);
	while (n /= 10);
	return append(at, end, d);
}
