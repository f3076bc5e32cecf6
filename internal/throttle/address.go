package throttle

import "net/netip"

// AddressKey is what an address counts as: an IPv4 address (also one mapped into IPv6) by itself, an IPv6 address by its /64,
// which is what one subscriber has. Zones do not count. The zero Addr gives the zero Prefix.
func AddressKey(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil { // only the zero Addr
		return netip.Prefix{}
	}
	return p
}
