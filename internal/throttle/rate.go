package throttle

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is how much is allowed: N acts in any stretch of time as long as Per. The zero Rate sets no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// MaxN bounds Rate.N as ParseRate reads it: a limiter may have to remember that many instants for each key.
const MaxN = 1_000_000

// Off reports whether r sets no limit.
func (r Rate) Off() bool { return r.N <= 0 || r.Per <= 0 }

// String writes r as ParseRate reads it: "30/second", "off". (A Per that is not one of its four periods
// is written as a duration, "5/1m30s", which ParseRate does not read.)
func (r Rate) String() string {
	if r.Off() {
		return "off"
	}
	period := r.Per.String()
	switch r.Per {
	case time.Second:
		period = "second"
	case time.Minute:
		period = "minute"
	case time.Hour:
		period = "hour"
	case 24 * time.Hour:
		period = "day"
	}
	return strconv.Itoa(r.N) + "/" + period
}

// ParseRate reads "30/second", "10/min", "100/d" or "off", in any case and with white space around the parts. As in Django REST
// framework the first letter of the period counts (s, m, h, d), but words whose first letter would mislead
// (month, ms, millisecond, decade) are refused. The error says what to write instead.
func ParseRate(s string) (Rate, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	if text == "off" {
		return Rate{}, nil
	}
	number, period, found := strings.Cut(text, "/")
	if !found {
		return Rate{}, rateError(s, "")
	}
	number, period = strings.TrimSpace(number), strings.TrimSpace(period)
	n, err := strconv.ParseUint(number, 10, 64)
	switch {
	case err != nil && !isDigits(number):
		return Rate{}, rateError(s, fmt.Sprintf("%q is not a whole number; ", number))
	case err != nil || n > MaxN:
		return Rate{}, rateError(s, fmt.Sprintf("the number may be at most %d; ", MaxN))
	case n == 0:
		return Rate{}, rateError(s, "0 would refuse everybody; ")
	}
	per, ok := parsePeriod(period)
	if !ok {
		return Rate{}, rateError(s, fmt.Sprintf("%q is not a period; ", period))
	}
	return Rate{N: int(n), Per: per}, nil
}

func rateError(s, why string) error {
	return fmt.Errorf("rate %q: %swrite a number, a slash and second, minute, hour or day, such as 30/second, or off for no limit", s, why)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func parsePeriod(s string) (time.Duration, bool) {
	for _, misleading := range []string{"mo", "ms", "mil", "mic", "de"} {
		if strings.HasPrefix(s, misleading) {
			return 0, false
		}
	}
	if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") != "" {
		return 0, false
	}
	switch s[0] {
	case 's':
		return time.Second, true
	case 'm':
		return time.Minute, true
	case 'h':
		return time.Hour, true
	case 'd':
		return 24 * time.Hour, true
	}
	return 0, false
}
