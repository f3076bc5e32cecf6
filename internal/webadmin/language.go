package webadmin

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// language is one that people read: "en" or "ru".
type language string

const (
	english language = "en"
	russian language = "ru"
)

func languages() []language { return []language{english, russian} }

func knownLanguage(s string) bool { return s == string(english) || s == string(russian) }

func parseLanguage(s string) language {
	if s == string(russian) {
		return russian
	}
	return english
}

// negotiate chooses by Accept-Language.
func negotiate(headers []string, fallback language) language {
	best, chosen := 0.0, fallback
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		tag, params, _ := strings.Cut(part, ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if !knownLanguage(primary) {
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); ok {
			q, _ = strconv.ParseFloat(v, 64)
		}
		if q > best && q <= 1 {
			best, chosen = q, language(primary)
		}
	}
	return chosen
}

// languageName is what a language calls itself; "" for one that the pages do not speak.
func languageName(code string) string {
	return map[string]string{"en": "English", "ru": "Русский"}[code]
}

// say is a text of the catalogue with its %s and %d filled in.
func say(l language, key string, args ...any) string {
	w, ok := catalogue()[key]
	if !ok {
		panic("webadmin: no text " + strconv.Quote(key)) // TestTexts finds these
	}
	return fill(w.in(l), args)
}

func fill(s string, args []any) string {
	if len(args) == 0 {
		return s
	}
	return fmt.Sprintf(s, args...)
}

// count is a text with a number: its form that goes with n, with the number written out in place of the first %s. More arguments follow.
func count(l language, key string, n int, args ...any) string {
	forms := strings.Split(say(l, key), "|")
	return fill(forms[min(pluralForm(l, n), len(forms)-1)], append([]any{number(l, n)}, args...))
}

// pluralForm is which form goes with n: one, other; in Russian one (1, 21), few (2-4, 22), many (0, 5-20, 11-14).
func pluralForm(l language, n int) int {
	if n < 0 {
		n = -n
	}
	if l != russian {
		if n == 1 {
			return 0
		}
		return 1
	}
	tens, ones := n%100, n%10
	switch {
	case ones == 1 && tens != 11:
		return 0
	case ones >= 2 && ones <= 4 && (tens < 12 || tens > 14):
		return 1
	}
	return 2
}

// number writes n with its thousands apart: 3,201 or 3 201.
func number(l language, n int) string {
	digits := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, digits = "\u2212", digits[1:]
	}
	separator := ","
	if l == russian {
		separator = "\u00a0"
		if len(digits) == 4 { // four digits stand together in Russian
			separator = ""
		}
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString(separator)
		}
		b.WriteRune(d)
	}
	return b.String()
}

// moment is an instant as a page shows it.
type moment struct {
	Known bool   // false = there was none
	ISO   string // for machines, UTC
	Exact string // to the second, in the site's zone, with its offset
	Brief string // "12 s ago", or the day when it is longer ago
	Clock string // 14:03:11
	Day   string // "24 Nov", with the year unless it is this one; "" = today
}

// moment is t as seen from the visit's now. The zero time gives the zero moment.
func (v *visit) moment(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	local, now := t.In(v.zone), v.now.In(v.zone)
	other := ""
	if local.YearDay() != now.YearDay() || local.Year() != now.Year() {
		other = day(v.lang, local)
		if local.Year() == now.Year() {
			other = other[:strings.LastIndex(other, "\u00a0")]
		}
	}
	return moment{
		Known: true, ISO: t.UTC().Format("2006-01-02T15:04:05Z"),
		Exact: day(v.lang, local) + ", " + local.Format("15:04:05 -07:00"), Brief: v.ago(local), Clock: local.Format("15:04:05"), Day: other,
	}
}

// ago tells a time by its distance, as far as that helps.
func (v *visit) ago(t time.Time) string {
	d := v.now.Sub(t)
	past := d >= 0
	if !past {
		d = -d
	}
	in := func(ago, ahead string, n time.Duration) string {
		if past {
			return v.t(ago, int(n))
		}
		return v.t(ahead, int(n))
	}
	switch {
	case d < 5*time.Second:
		return v.t("time.now")
	case d < time.Minute:
		return in("time.s_ago", "time.in_s", d/time.Second)
	case d < time.Hour:
		return in("time.min_ago", "time.in_min", d/time.Minute)
	case d < 24*time.Hour:
		return in("time.h_ago", "time.in_h", d/time.Hour)
	case d < 7*24*time.Hour:
		return in("time.d_ago", "time.in_d", d/(24*time.Hour))
	}
	return day(v.lang, t)
}

// day writes a date: 25 Nov 2026, 25 ноя. 2026.
func day(l language, t time.Time) string {
	month := strings.Split(say(l, "time.months"), " ")[t.Month()-1]
	return fmt.Sprintf("%d\u00a0%s\u00a0%d", t.Day(), month, t.Year())
}

// t is a text in the visitor's language.
func (v *visit) t(key string, args ...any) string { return say(v.lang, key, args...) }

// n is a text with a number in the visitor's language.
func (v *visit) n(key string, n int, args ...any) string { return count(v.lang, key, n, args...) }
