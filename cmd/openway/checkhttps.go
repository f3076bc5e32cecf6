package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/openway-access/openway/internal/server"
)

func (d *deployment) https(context.Context) []finding {
	const check = "HTTPS"
	u := d.plan.publicURL
	switch {
	case u == nil && d.plan.https.on():
		return []finding{warn(check, "Set it to the https:// address that people use: redirects then lead there, whatever host a request names.",
			"the server speaks it, but OPENWAY_PUBLIC_URL is not set")}
	case u == nil:
		return []finding{fail(check, "Set OPENWAY_PUBLIC_URL to the https:// address that people use; HSTS and Secure cookies follow from it. "+
			"HTTPS itself: --tls-cert, --acme-domain or a proxy (docs/operate.md).", "OPENWAY_PUBLIC_URL is not set")}
	case u.Scheme != "https" && d.plan.https.on():
		return []finding{fail(check, "Set it to the https:// address that people use.", "the server speaks it, but OPENWAY_PUBLIC_URL is %s", u)}
	case u.Scheme != "https":
		return []finding{fail(check, "Put HTTPS in front: --tls-cert, --acme-domain or a proxy (docs/operate.md). Without it tokens and passwords can be read on the way.", "OPENWAY_PUBLIC_URL is %s", u)}
	}
	return []finding{passed(check, "%s; HSTS is sent", u)}
}

// on reports whether the server speaks HTTPS by itself.
func (p *httpsPlan) on() bool { return p.cert != "" || len(p.domains) > 0 }

// certificate looks at those that the server would show by itself; a proxy's are the proxy's.
func (d *deployment) certificate(context.Context) (found []finding) {
	const check = "certificate"
	p := d.plan.https
	switch {
	case p.cert != "":
		pair, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			return []finding{fail(check, "Name a certificate with its chain and the key that belongs to it, both readable by the user that serves: OPENWAY_TLS_CERT, OPENWAY_TLS_KEY.", "%s", message(err))}
		}
		name := ""
		if u := d.plan.publicURL; u != nil {
			name = u.Hostname()
		}
		return []finding{d.validity(p.cert, pair.Leaf, name, "Renew it: the server takes the new files into use by itself.")}
	case len(p.domains) > 0:
		storage := p.storageOf(d.app.settings)
		for _, domain := range p.domains {
			kept, err := server.KeptCertificate(storage, domain)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				found = append(found, warn(check, "Start the server and look at its log: it gets one as soon as the authority reaches it at port 443 or 80.", "%s has none yet", domain))
			case err != nil:
				found = append(found, fail(check, "Look at the file; without it the server gets a new one.", "%s", message(err)))
			default:
				found = append(found, d.validity(domain, kept.Leaf, domain, "Look at the server's log for why the authority does not renew it: it asks at port 443 or 80."))
			}
		}
		if u := d.plan.publicURL; u != nil && !slices.Contains(p.domains, u.Hostname()) {
			found = append(found, fail(check, "Name it in OPENWAY_ACME_DOMAIN as well.", "OPENWAY_PUBLIC_URL's host %s is not among those that certificates are got for", u.Hostname()))
		}
		return found
	}
	return []finding{passed(check, "none of its own: a proxy has it")}
}

// certificateSoon is when the end of a certificate is near. Those that live short are renewed late: in their last third, so their last quarter is near.
const certificateSoon = 21 * 24 * time.Hour

// validity judges one certificate. name is the host that it must be for; "" = not known.
func (d *deployment) validity(what string, leaf *x509.Certificate, name, do string) finding {
	const check = "certificate"
	now := d.app.now()
	left := leaf.NotAfter.Sub(now)
	end := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case left <= 0:
		return fail(check, do, "%s expired on %s", what, end)
	case leaf.NotBefore.After(now):
		return fail(check, "Is the clock right?", "%s holds from %s only", what, leaf.NotBefore.UTC().Format(time.DateOnly))
	case name != "" && leaf.VerifyHostname(name) != nil:
		return fail(check, "Get one for that name, or set OPENWAY_PUBLIC_URL to a name that it has.", "%s is not for %s", what, name)
	case left < min(certificateSoon, leaf.NotAfter.Sub(leaf.NotBefore)/4):
		return warn(check, do, "%s expires in %s, on %s", what, counted(int(left.Hours()/24), "day"), end)
	}
	return passed(check, "%s holds until %s", what, end)
}

// keptByACME are the files with the keys that certificates got by ACME have.
func (d *deployment) keptByACME() []string {
	if len(d.plan.https.domains) == 0 {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(d.plan.https.storageOf(d.app.settings), "*"))
	if err != nil { // the name of the directory is a bad pattern
		return nil
	}
	return files
}

// otherListeners looks at those beside the main one: what they show must not be shown to the world.
func (d *deployment) otherListeners(ctx context.Context) []finding {
	var found []finding
	for _, l := range []struct{ check, address, do string }{
		{"gate listener", d.plan.gates, "Name the address of the controllers' own network in OPENWAY_GATE_LISTEN: tokens can be read on the way there."},
		{"metrics listener", d.plan.metrics, "Name an address that only Prometheus reaches in OPENWAY_METRICS_LISTEN, such as 127.0.0.1:9090: it asks nobody who they are."},
	} {
		switch where := reachable(ctx, l.address); {
		case l.address == "":
			found = append(found, passed(l.check, "off"))
		case where != "":
			found = append(found, warn(l.check, l.do, "plain HTTP on %s, %s", l.address, where))
		default:
			found = append(found, passed(l.check, "%s", l.address))
		}
	}
	return found
}

// reachable says why strangers may reach an address that is listened on; "" = only this machine or a private network may.
func reachable(ctx context.Context, address string) string {
	host, _, _ := net.SplitHostPort(address)
	if host == "" {
		return "every address of this machine"
	}
	addresses := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, a)
	} else if addresses, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return fmt.Sprintf("whose address cannot be told (%s)", err)
	}
	for _, a := range addresses {
		switch a = a.Unmap(); {
		case a.IsUnspecified():
			return "every address of this machine"
		case !a.IsLoopback() && !a.IsPrivate() && !a.IsLinkLocalUnicast():
			return "a public address"
		}
	}
	return ""
}
