package httpapi

// kind is what sort of value a field of a body has.
type kind uint8

const (
	missing kind = iota // the body does not have the field
	null
	boolean
	number
	text
	list
	object
	file // of a multipart form
)

// value is one value of a body, as it came.
type value struct {
	kind kind
	// text: of a text its characters (a lone surrogate replaced by U+FFFD); of a number its digits, an integer exactly, others as they are
	// written; of a boolean true or false.
	text string
	// surrogate is the first lone surrogate that a JSON text holds as an escape, 0 = none. Strings of Go cannot hold it.
	surrogate rune
	// empty: a list or object without elements.
	empty bool
}

// falsy reports whether Python would take v for false: clients in the field send such bodies where none is needed.
func (v value) falsy() bool {
	switch v.kind {
	case missing, null:
		return true
	case boolean:
		return v.text == "false"
	case text:
		return v.text == "" && v.surrogate == 0
	case number:
		f, ok := v.float()
		return ok && f == 0
	case list, object:
		return v.empty
	}
	return false
}

// pythonName is what the original's error texts call v.
func (v value) pythonName() string {
	switch v.kind {
	case boolean:
		return "bool"
	case number:
		if isInteger(v.text) {
			return "int"
		}
		return "float"
	case text:
		return "str"
	case list:
		return "list"
	}
	return "dict"
}

// body is what was read of a request body: the fields that were asked for. Others are not kept.
type body struct {
	form   bool  // a form: an empty value of an optional field counts as absent
	root   value // an object, or what else the JSON document is
	names  []string
	values [maxFields]value
}

// maxFields is the most fields that any body of the API has.
const maxFields = 2

func (b *body) get(name string) value {
	for i, n := range b.names {
		if n == name {
			return b.values[i]
		}
	}
	return value{}
}

// set keeps a value if its field was asked for. The last of several counts.
func (b *body) set(name []byte, v value) {
	for i, n := range b.names {
		if n == string(name) {
			b.values[i] = v
			return
		}
	}
}

func (b *body) clear() { b.values = [maxFields]value{} }
