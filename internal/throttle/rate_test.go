package throttle

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseRate(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		text string
		want Rate
		back string // what String makes of it
	}{
		{"30/second", Rate{30, time.Second}, "30/second"},
		{"30/s", Rate{30, time.Second}, "30/second"},
		{"5/SEC", Rate{5, time.Second}, "5/second"},
		{"10/minute", Rate{10, time.Minute}, "10/minute"},
		{"10/min", Rate{10, time.Minute}, "10/minute"},
		{"10/m", Rate{10, time.Minute}, "10/minute"},
		{"7/hours", Rate{7, time.Hour}, "7/hour"},
		{"100/day", Rate{100, day}, "100/day"},
		{" 1000 / Day ", Rate{1000, day}, "1000/day"},
		{"1000000/d", Rate{MaxN, day}, "1000000/day"},
		{"007/s", Rate{7, time.Second}, "7/second"},
		{"off", Rate{}, "off"},
		{" OFF\n", Rate{}, "off"},
	} {
		got, err := ParseRate(tt.text)
		if err != nil || got != tt.want || got.String() != tt.back {
			t.Errorf("ParseRate(%q) = %+v (%s), %v, want %+v (%s)", tt.text, got, got, err, tt.want, tt.back)
		}
		if again, err := ParseRate(got.String()); err != nil || again != got {
			t.Errorf("ParseRate(%q) = %+v, %v, want %+v", got.String(), again, err, got)
		}
	}
}

func TestParseRateRefuses(t *testing.T) {
	for _, tt := range []struct{ text, why string }{
		{"", ""},
		{"30", ""},
		{"none", ""},
		{"/second", `"" is not a whole number`},
		{"x/second", `"x" is not a whole number`},
		{"-1/second", `"-1" is not a whole number`},
		{"+1/second", `"+1" is not a whole number`},
		{"1.5/second", `"1.5" is not a whole number`},
		{"0/second", "0 would refuse everybody"},
		{"1000001/day", "at most 1000000"},
		{"99999999999999999999/day", "at most 1000000"},
		{"30/", `"" is not a period`},
		{"30/fortnight", `"fortnight" is not a period`},
		{"30/month", `"month" is not a period`},
		{"30/ms", `"ms" is not a period`},
		{"30/milliseconds", `"milliseconds" is not a period`},
		{"30/decade", `"decade" is not a period`},
		{"30/10s", `"10s" is not a period`},
		{"30/s/s", `"s/s" is not a period`},
	} {
		got, err := ParseRate(tt.text)
		if err == nil {
			t.Errorf("ParseRate(%q) = %+v, want an error", tt.text, got)
			continue
		}
		for _, want := range []string{"rate ", tt.why, "such as 30/second", "off"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("ParseRate(%q) says %q, want it to have %q", tt.text, err, want)
			}
		}
	}
}

func TestRateString(t *testing.T) {
	for _, tt := range []struct {
		rate Rate
		want string
	}{
		{Rate{5, 90 * time.Second}, "5/1m30s"},
		{Rate{0, time.Second}, "off"},
		{Rate{5, 0}, "off"},
	} {
		if got := tt.rate.String(); got != tt.want {
			t.Errorf("%#v.String() = %q, want %q", tt.rate, got, tt.want)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"30/second", "off", "1/d", "1//d", "99999999999999999999/s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rate, err := ParseRate(s)
		if err != nil {
			if !rate.Off() {
				t.Fatalf("ParseRate(%q) = %+v with %v", s, rate, err)
			}
			return
		}
		if again, err := ParseRate(rate.String()); err != nil || again != rate || rate.N > MaxN {
			t.Fatalf("ParseRate(%q) = %+v, which comes back as %+v, %v", s, rate, again, err)
		}
	})
}

func TestAddressKey(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"192.0.2.7", "192.0.2.7/32"},
		{"::ffff:192.0.2.7", "192.0.2.7/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
		{"::1", "::/64"},
	} {
		if got := AddressKey(netip.MustParseAddr(tt.address)); got != netip.MustParsePrefix(tt.want) {
			t.Errorf("AddressKey(%s) = %s, want %s", tt.address, got, tt.want)
		}
	}
	if got := AddressKey(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("AddressKey of no address = %s, want the zero prefix", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, ok := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))
		if p := AddressKey(a); !ok || !p.IsValid() || !p.Contains(a.Unmap()) || p != p.Masked() {
			t.Fatalf("AddressKey(%s) = %s", a, p)
		}
	})
}
