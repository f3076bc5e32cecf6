package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// HealthcheckCmd asks the server on this machine how it is.
type HealthcheckCmd struct {
	Listen     string        `group:"http" placeholder:"ADDRESS" help:"Where the server listens; :8001."`
	TLSCert    string        `name:"tls-cert" group:"https" placeholder:"FILE" help:"As the server has it: it is asked over HTTPS then."`
	ACMEDomain string        `name:"acme-domain" group:"https" placeholder:"NAMES" help:"As the server has it: it is asked over HTTPS then."`
	Ready      bool          `help:"Ask whether it can serve (its database answers), not only whether it lives."`
	Timeout    time.Duration `default:"3s" help:"How long to wait."`
}

// Help is the example of --help.
func (HealthcheckCmd) Help() string {
	return "Prints what the server says; exit status 0 = well, 1 = not.\n\nExample:\n\n    openway healthcheck --ready"
}

// Run asks.
func (c HealthcheckCmd) Run(a *app) error {
	secure := c.TLSCert != "" || c.ACMEDomain != ""
	listen, err := listenAddress("OPENWAY_LISTEN", c.Listen, usualListen(secure))
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(listen)
	if port == "0" {
		return settingError("OPENWAY_LISTEN", "port 0 is any free port: name the one the server got")
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	url := "http://" + net.JoinHostPort(host, port) + path
	transport := &http.Transport{DisableKeepAlives: true} // no proxy: it is this machine
	if secure {
		url = "https" + strings.TrimPrefix(url, "http")
		// The certificate is for another name than this machine's address, and the answer is believed because it comes from here.
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // #nosec G402 -- see above
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return settingError("OPENWAY_LISTEN", "%w", err)
	}
	client := http.Client{Transport: transport}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	if err != nil {
		return fmt.Errorf("healthcheck: %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("healthcheck: %s answers %s %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	a.printf("%s\n", strings.TrimSpace(string(body)))
	return nil
}
