package httpapi

import "github.com/openway-access/openway/internal/access"

// quickVerify reads the one body that nearly every controller sends: a JSON object of gate_id and token, once each, in either order, both
// texts of printable ASCII without escapes and outer spaces, the token of a length that tokens have. At anything else it gives up, and the
// general reader says what the body means; what quickVerify does read, the general reader would read alike (FuzzQuickVerify).
func quickVerify(data []byte) (gate, token []byte, ok bool) {
	at := blanks(data, 0)
	if at == len(data) || data[at] != '{' {
		return nil, nil, false
	}
	for _, closing := range [2]byte{',', '}'} {
		var name, text []byte
		if name, at, ok = plainText(data, blanks(data, at+1)); !ok {
			return nil, nil, false
		}
		if at = blanks(data, at); at == len(data) || data[at] != ':' {
			return nil, nil, false
		}
		if text, at, ok = plainText(data, blanks(data, at+1)); !ok {
			return nil, nil, false
		}
		switch {
		case gate == nil && string(name) == "gate_id":
			gate = text
		case token == nil && string(name) == "token":
			token = text
		default:
			return nil, nil, false
		}
		if at = blanks(data, at); at == len(data) || data[at] != closing {
			return nil, nil, false
		}
	}
	if blanks(data, at+1) != len(data) || len(token) < access.MinToken || len(token) > access.MaxToken {
		return nil, nil, false
	}
	return gate, token, true
}

// blanks is where the white space that begins at an offset ends.
func blanks(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\n' || data[at] == '\r' || data[at] == '\t') {
		at++
	}
	return at
}

// plainText reads the text that begins at an offset, if it is not empty and stands for itself.
func plainText(data []byte, at int) (text []byte, end int, ok bool) {
	if at >= len(data) || data[at] != '"' {
		return nil, at, false
	}
	at++
	for end = at; end < len(data) && data[end] != '"'; end++ {
		if c := data[end]; c < ' ' || c > '~' || c == '\\' {
			return nil, end, false
		}
	}
	text = data[at:end]
	if end == len(data) || len(text) == 0 || text[0] == ' ' || text[len(text)-1] == ' ' {
		return nil, end, false
	}
	return text, end + 1, true
}
