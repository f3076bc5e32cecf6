// Package opstest holds what stands around the binary to what it promises: Dockerfile, compose file, examples of settings, systemd unit, workflows and
// the audit. It has no code, only tests. No Docker engine is needed: what an image means is tried in a chroot.
package opstest
