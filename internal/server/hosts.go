package server

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Hosts is ALLOWED_HOSTS, ready to ask. Use ParseHosts.
type Hosts struct {
	any   bool
	exact map[string]bool // host, or host:port where the setting names a port
	under []string        // ".example.org": the name itself and everything below it
}

// ParseHosts reads a list of host names and addresses: "example.org", ".example.org" (with all below it), "192.0.2.1", "::1",
// "[::1]", "example.org:8001" (that port alone), "*" (any). Case and a closing dot do not matter. Empty entries are skipped.
func ParseHosts(list []string) (hosts Hosts, err error) {
	hosts.exact = make(map[string]bool, len(list))
	n := 0
	for _, entry := range list {
		e := strings.ToLower(strings.TrimSpace(entry))
		if e == "" {
			continue
		}
		n++
		if e == "*" {
			hosts.any = true
			continue
		}
		name, port := splitHost(e)
		bare := strings.TrimPrefix(name, ".")
		_, addrErr := netip.ParseAddr(name)
		if bare == "" || (port == "" && strings.HasSuffix(e, ":") && addrErr != nil) ||
			(addrErr != nil && (strings.ContainsAny(bare, " \t/:*@[],'\"\\") || strings.Contains(bare, ".."))) {
			return hosts, fmt.Errorf("%q is not a host name, such as example.org or .example.org", entry)
		}
		switch {
		case port != "":
			hosts.exact[net.JoinHostPort(name, port)] = true
		case bare != name:
			hosts.under = append(hosts.under, name)
		default:
			hosts.exact[name] = true
		}
	}
	if n == 0 {
		hosts.any = true
	}
	return hosts, nil
}

// allow reports whether a request for this Host may pass.
func (l Hosts) allow(host string) bool {
	if l.any {
		return true
	}
	if l.exact[host] { // as it stands, the usual case
		return true
	}
	name, port := splitHost(strings.ToLower(host))
	if name == "" {
		return false
	}
	if l.exact[name] || (port != "" && l.exact[net.JoinHostPort(name, port)]) {
		return true
	}
	for _, u := range l.under {
		if name == u[1:] || (strings.HasSuffix(name, u) && len(name) > len(u)) {
			return true
		}
	}
	return false
}

// splitHost takes a Host header or a setting apart: name or address without brackets and closing dot, and the port.
func splitHost(host string) (name, port string) {
	name = host
	switch {
	case strings.HasPrefix(host, "["):
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", ""
		}
		name = host[1:end]
		rest := host[end+1:]
		if rest != "" && rest[0] != ':' {
			return "", ""
		}
		port = strings.TrimPrefix(rest, ":")
		if _, err := netip.ParseAddr(name); err != nil {
			return "", ""
		}
	case strings.Count(host, ":") == 1:
		name, port, _ = strings.Cut(host, ":")
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return "", ""
		}
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return a.String(), port
	}
	return strings.TrimSuffix(name, "."), port
}

// joinHost puts a name or address and a port together as URLs have them: without the port that goes without saying for HTTPS.
func joinHost(name, port string) string {
	if port != "443" {
		return net.JoinHostPort(name, port)
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is6() {
		return "[" + name + "]"
	}
	return name
}
