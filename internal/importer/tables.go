package importer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// table is one of Django's tables, with the columns that are read. Others that it has do not matter.
type table struct {
	name    string
	columns []string
	// rest says that the columns from this one on may be missing; 0 = none may.
	rest int
	// optional tables may be missing as a whole.
	optional bool
}

// The tables. The constants beside each are the places of its columns.
var (
	users = &table{name: "auth_user", columns: []string{
		"id", "password", "last_login", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active", "date_joined",
	}}
	groups      = &table{name: "auth_group", columns: []string{"id", "name"}}
	members     = &table{name: "auth_user_groups", columns: []string{"user_id", "group_id"}}
	gates       = &table{name: "access_accesspoint", columns: []string{"id", "code", "name", "location"}}
	permissions = &table{name: "access_accesspermission", columns: []string{"id", "allow", "group_id", "user_id", "access_point_id"}}
	tokens      = &table{name: "authtoken_token", columns: []string{"key", "created", "user_id"}}
	devices     = &table{name: "devices_device", columns: []string{
		"id", "name", "android_device_id", "is_active", "created_at", "user_id", "auth_token", "totp_secret",
	}, rest: 7}
	events = &table{name: "access_accessevent", columns: []string{"id", "decision", "reason", "raw", "created_at", "user_id", "access_point_id"}}

	passwords    = &table{name: "accounts_passwordhistory", columns: []string{"id", "password", "created_at", "user_id"}, optional: true}
	adminLog     = &table{name: "django_admin_log", columns: []string{"id", "action_time", "object_id", "object_repr", "action_flag", "change_message", "content_type_id", "user_id"}, optional: true}
	contentTypes = &table{name: "django_content_type", columns: []string{"id", "app_label", "model"}, optional: true}
	userRights   = &table{name: "auth_user_user_permissions", columns: []string{"user_id"}, optional: true}
	groupRights  = &table{name: "auth_group_permissions", columns: []string{"group_id"}, optional: true}
)

// layout is where a source has the columns of a table: for each column of the table its place in a line, -1 for none.
type layout struct {
	*table
	at []int
	n  int // how many fields a line has
}

// layoutOf finds the columns of t among those that a source lists.
func layoutOf(t *table, listed []string) (layout, error) {
	l := layout{table: t, n: len(listed)}
	for i, c := range t.columns {
		at := slices.Index(listed, c)
		if at < 0 && (t.rest == 0 || i < t.rest) {
			return l, fmt.Errorf("the table %s has no column %s: it is of another version of the service; bring that up to date (manage.py migrate), and try again", t.name, c)
		}
		l.at = append(l.at, at)
	}
	return l, nil
}

// row is one line of a table. Its getters take the place of a column in table.columns; the first thing that cannot be read is kept in err. What
// they return as bytes is good until the next row.
type row struct {
	layout
	line   int64 // in the dump; 0 = not from a dump
	fields [][]byte
	err    error
	buf    []byte
}

// errNull, and other words for what is wrong with a value.
var (
	errNull     = errors.New("is NULL")
	errEncoding = errors.New("is not UTF-8: the dump or the database is in another encoding, or damaged; dump it with pg_dump --encoding=UTF8")
)

// where names a place for errors.
func (r *row) where(column int) string {
	s := r.name + "." + r.columns[column]
	if r.line > 0 {
		s = "line " + strconv.FormatInt(r.line, 10) + ": " + s
	}
	return s
}

func (r *row) fail(column int, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%s %w", r.where(column), err)
	}
}

// bytes is a value as it is; nil for NULL and for a column that is not there.
func (r *row) bytes(column int) []byte {
	if r.at[column] < 0 {
		return nil
	}
	return r.fields[r.at[column]]
}

// text is a text that must be there.
func (r *row) text(column int) string {
	b := r.bytes(column)
	if b == nil {
		r.fail(column, errNull)
	}
	return r.sound(column, b)
}

// optionalText is a text, "" for NULL.
func (r *row) optionalText(column int) string { return r.sound(column, r.bytes(column)) }

func (r *row) sound(column int, b []byte) string {
	if !utf8.Valid(b) {
		r.fail(column, errEncoding)
	}
	return string(b)
}

// id is a number above zero that must be there.
func (r *row) id(column int) int64 {
	n := r.optionalID(column)
	if n == 0 {
		r.fail(column, errNull)
	}
	return n
}

// optionalID is a number above zero, 0 for NULL.
func (r *row) optionalID(column int) int64 {
	b := r.bytes(column)
	if b == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n <= 0 {
		r.fail(column, fmt.Errorf("is %.40q, which is no id", b))
	}
	return n
}

func (r *row) yes(column int) bool {
	switch string(r.bytes(column)) {
	case "t":
		return true
	case "f":
		return false
	}
	r.fail(column, fmt.Errorf("is %.40q, which is neither true nor false", r.bytes(column)))
	return false
}

// instant is a time with its offset, as PostgreSQL writes it in ISO style.
func (r *row) instant(column int) time.Time {
	if r.bytes(column) == nil {
		r.fail(column, errNull)
		return time.Time{}
	}
	return r.optionalInstant(column)
}

// optionalInstant is the zero time for NULL.
func (r *row) optionalInstant(column int) time.Time {
	b := r.bytes(column)
	if b == nil {
		return time.Time{}
	}
	t, ok := parseInstant(b)
	if !ok || t.Year() < 1970 || t.Year() > 9999 {
		r.fail(column, fmt.Errorf("is %.40q, which is no time with an offset between 1970 and 9999", b))
	}
	return t
}

// parseInstant reads 2026-11-23 13:30:34.405182+00, with an offset of hours, or of hours and minutes, or with seconds too.
func parseInstant(b []byte) (time.Time, bool) {
	sign := bytes.LastIndexAny(b, "+-")
	if sign < len("2006-01-02 15:04:05") {
		return time.Time{}, false
	}
	layout := "2006-01-02 15:04:05-07:00:00"[:len("2006-01-02 15:04:05")+min(len(b)-sign, 9)]
	t, err := time.Parse(layout, string(b))
	return t.UTC(), err == nil
}
