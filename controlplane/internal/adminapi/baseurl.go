package adminapi

import (
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

var (
	hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)
	// endsInNumber is what some resolvers take for an address in an unusual notation, such as 127.1 or 0x7f000001.
	endsInNumber = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9A-Fa-f]*)$`)
	basePath     = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)
)

// parseBaseURL reads the address of a provider once and writes it anew from its parts, so that nobody later reads another
// host out of it than was checked here.
func parseBaseURL(raw string, allowPrivate bool) (string, *refusal) {
	no := func(text string) (string, *refusal) { return "", invalid("baseUrl", text) }
	for _, c := range []byte(raw) {
		if c <= ' ' || c > '~' || strings.IndexByte("\\?#@%", c) >= 0 {
			return no("may hold no user, query, fragment, escape, white space or character beyond ASCII")
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host == "" {
		return no("must be like https://host/path")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !allowPrivate) {
		return no("must begin with https://, or with http:// if allowPrivateAddresses is set")
	}
	host, ok := canonicalHost(u.Hostname())
	if !ok {
		return no("must have a plain host name or address")
	}
	if !allowPrivate && isPrivate(host) {
		return no("is a loopback or private address: set allowPrivateAddresses to use it")
	}
	port, ok := canonicalPort(u)
	if !ok {
		return no("must have a port from 1 to 65535, or none")
	}
	path := strings.TrimSuffix(u.Path, "/")
	if !basePath.MatchString(path) {
		return no("may have a path of plain segments only")
	}
	return u.Scheme + "://" + host + port + path, nil
}

// canonicalHost answers a name in lower case, or an address as it goes into a URL.
func canonicalHost(name string) (host string, ok bool) {
	if addr, err := netip.ParseAddr(name); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return "", false
		}
		if addr.Is6() {
			return "[" + addr.String() + "]", true
		}
		return addr.String(), true
	}
	if len(name) > 253 || endsInNumber.MatchString(name) {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !hostLabel.MatchString(label) {
			return "", false
		}
	}
	return strings.ToLower(name), true
}

func canonicalPort(u *url.URL) (port string, ok bool) {
	text := u.Port()
	if text == "" {
		return "", !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return ":" + text, err == nil && n > 0 && text[0] != '0'
}

// isPrivate says whether the host can be told to be no public one by its name alone. What a name resolves to is checked
// at every connection, by whoever makes it.
func isPrivate(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && (!addr.IsGlobalUnicast() || addr.IsPrivate())
}
