package server

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
)

// setClient settles who the client is and whether it came over HTTPS, and normalises the request accordingly. The client is the
// peer, or what X-Forwarded-For says as far as trusted proxies say it; from anyone else the header is ignored, with one warning.
func (s *Server) setClient(r *http.Request) (https bool) {
	peer := parsePeer(r.RemoteAddr)
	forwarded := r.Header["X-Forwarded-For"]
	proto := r.Header["X-Forwarded-Proto"]
	client := peer
	https = r.TLS != nil || s.https
	if len(forwarded) > 0 || len(proto) > 0 {
		if s.trusts(peer) {
			client = s.walk(peer, forwarded)
			https = https || len(proto) > 0 && strings.EqualFold(lastOf(proto), "https")
		} else if len(forwarded) > 0 && s.warnedProxy.CompareAndSwap(false, true) {
			s.log.Warn("X-Forwarded-For from an address that is not in OPENWAY_TRUSTED_PROXIES is ignored; this is said once",
				slog.String("address", peer.String()))
		}
		delete(r.Header, "X-Forwarded-For")
	}
	if https {
		r.Header["X-Forwarded-Proto"] = s.headers.https
	} else if len(proto) > 0 {
		delete(r.Header, "X-Forwarded-Proto")
	}
	r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
	return https
}

// walk follows X-Forwarded-For from the right for as long as the address that vouches for the next one is trusted. What cannot
// be read ends the walk: the last address that somebody trusted has seen is the client.
func (s *Server) walk(peer netip.Addr, lines []string) netip.Addr {
	client := peer
	for i := len(lines) - 1; i >= 0; i-- {
		rest := lines[i]
		for rest != "" {
			var part string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, part = rest[:at], rest[at+1:]
			} else {
				rest, part = "", rest
			}
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			a, ok := parseForwarded(part)
			if !ok {
				return client
			}
			client = a
			if !s.trusts(a) {
				return client
			}
		}
	}
	return client
}

// lastOf is the rightmost value of a header that proxies append to: what the proxy next to us said.
func lastOf(lines []string) string {
	v := lines[len(lines)-1]
	return strings.TrimSpace(v[strings.LastIndexByte(v, ',')+1:])
}

func (s *Server) trusts(a netip.Addr) bool {
	for _, p := range s.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parsePeer reads what net/http says the peer is; something without an IP address (a Unix socket) counts as 0.0.0.0.
func parsePeer(remote string) netip.Addr {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return plain(ap.Addr())
	}
	if a, err := netip.ParseAddr(remote); err == nil {
		return plain(a)
	}
	return netip.IPv4Unspecified()
}

// parseForwarded reads one element of X-Forwarded-For: an address, some proxies add the port.
func parseForwarded(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return plain(a), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return plain(ap.Addr()), true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil {
			return plain(a), true
		}
	}
	return netip.Addr{}, false
}

// plain writes an address in one way: IPv4 as such, IPv6 without its zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
