package httpapi

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/gatekeeper"
)

func TestQuickVerify(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("d2", 20)
	for _, c := range []struct {
		in          string
		gate, token string // what is read; none = it gives up
	}{
		{`{"gate_id":"gate-01","token":"` + token + `"}`, "gate-01", token},
		{" {\t\"token\" : \"" + token + "\",\r\n\"gate_id\": \"Front door 2\" } \n", "Front door 2", token},
		{`{"gate_id":"g","token":"12345678"}`, "g", "12345678"},
		{`{"gate_id":"g","token":"` + strings.Repeat("x", 128) + `"}`, "g", strings.Repeat("x", 128)},

		{in: ``},
		{in: ` `},
		{in: `{}`},
		{in: `{`},
		{in: `{"`},
		{in: `null`},
		{in: `[]`},
		{in: `{"gate_id":"g"}`},
		{in: `{"gate_id":"g","token":"1234567"}`},
		{in: `{"gate_id":"g","token":"` + strings.Repeat("x", 129) + `"}`},
		{in: `{"gate_id":"","token":"12345678"}`},
		{in: `{"gate_id":" g","token":"12345678"}`},
		{in: `{"gate_id":"g","token":"12345678 "}`},
		{in: `{"gate_id":"\u0067","token":"12345678"}`},
		{in: `{"gate_id":"g","token":"1234567é"}`},
		{in: "{\"gate_id\":\"g\x01\",\"token\":\"12345678\"}"},
		{in: "{\"gate_id\":\"g\x7f\",\"token\":\"12345678\"}"},
		{in: `{"gate_id":7,"token":"12345678"}`},
		{in: `{"gate_id":"g","token":"12345678","more":1}`},
		{in: `{"gate_id":"g","gate_id":"h","token":"12345678"}`},
		{in: `{"gate_id":"g","gate_id":"h"}`},
		{in: `{"gate_id":"g","token":"12345678"}}`},
		{in: `{"gate_id":"g","token":"12345678"]`},
		{in: `{"gate_id":"g","token":"12345678",}`},
		{in: `{"gate_id":"g";"token":"12345678"}`},
		{in: `{"Gate_id":"g","token":"12345678"}`},
		{in: `{"gate_id":"g","token":"12345678`},
		{in: "\ufeff" + `{"gate_id":"g","token":"12345678"}`},
	} {
		gate, token, ok := quickVerify([]byte(c.in))
		if string(gate) != c.gate || string(token) != c.token || ok != (c.gate != "") {
			t.Errorf("%q: got %q, %q, %t; want %q, %q", c.in, gate, token, ok, c.gate, c.token)
		}
	}
}

// agrees holds what quickVerify reads to what the general reader does, and reports whether it did read.
func agrees(t *testing.T, data []byte) bool {
	t.Helper()
	gate, token, ok := quickVerify(data)
	if !ok {
		return false
	}
	var b body
	got, want := gatekeeper.Request{Gate: string(gate), Token: string(token)}, parseVerify(data, jsonType, &b)
	if got != want {
		t.Fatalf("%q: quickVerify reads %+v, the general reader %+v", data, got, want)
	}
	return true
}

// Bodies made of pieces that matter, in any order, and broken at random places: what quickVerify reads of them the general reader reads alike.
func TestQuickVerifyAgrees(t *testing.T) {
	t.Parallel()
	pieces := []string{
		`{`, `}`, `"gate_id"`, `"token"`, `:`, `,`, `"gate-01"`, `"12345678"`, `"d2d2d2d2d2d2d2d2"`, `"`, ` `, "\n", "\t", `\`, `null`, `7`, `"\u0061"`, `" x"`, `"é"`, `[`, `]`, "\x00", "\xff", `"token `,
	}
	rnd := rand.New(rand.NewPCG(11, 25))
	read := 0
	for range 30_000 {
		in := []byte(`{"gate_id":"gate-01","token":"12345678"}`)
		if rnd.IntN(2) == 0 {
			in = []byte(` {"token" :"d2d2d2d2d2d2", "gate_id":"Front door"}`)
		}
		for range rnd.IntN(4) {
			at, end := rnd.IntN(len(in)+1), 0
			end = min(len(in), at+rnd.IntN(4)*rnd.IntN(6))
			in = append(in[:at:at], append([]byte(pieces[rnd.IntN(len(pieces))]), in[end:]...)...)
		}
		if agrees(t, in) {
			read++
		}
	}
	if read < 5_000 {
		t.Errorf("quickVerify read %d of the bodies: it does not do its job", read)
	}
}

// FuzzQuickVerify has the general reader as its oracle.
func FuzzQuickVerify(f *testing.F) {
	f.Add([]byte(`{"gate_id":"gate-01","token":"12345678"}`))
	f.Add([]byte(` { "token" : "d2d2d2d2d2d2d2d2" , "gate_id" : "Front door" } `))
	f.Add([]byte(`{"gate_id":"\u0067","token":"12345678","more":[1]}`))
	f.Fuzz(func(t *testing.T, data []byte) { agrees(t, data) })
}
