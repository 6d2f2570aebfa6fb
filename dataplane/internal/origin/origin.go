// Package origin knows where a request comes from, and slows down addresses that keep failing to log in.
//
// The address is the peer's, unless the peer is a proxy that the operator trusts: then it is the one that this proxy saw.
// Allow-lists look at the whole address; limits look at its Network, as whoever has one IPv6 address has 2^64.
//
// Nothing here is kept over a restart, and all memory is bounded, whatever strangers send.
package origin

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Trusted are the networks whose X-Forwarded-For is believed. With none, the header is never looked at.
type Trusted []netip.Prefix

// ParseTrusted reads networks (10.0.0.0/8, fd00::/8) and single addresses. The error names the text that is neither.
func ParseTrusted(list []string) (Trusted, error) {
	var t Trusted
	for _, text := range list {
		text = strings.TrimSpace(text)
		if addr, err := netip.ParseAddr(text); err == nil {
			addr = plain(addr)
			t = append(t, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() { // written so it would contain nothing
			return nil, fmt.Errorf("%q is neither a network such as 10.0.0.0/8 nor an address", text)
		}
		t = append(t, p.Masked())
	}
	return t, nil
}

// Contains says whether the address is a trusted proxy's.
func (t Trusted) Contains(addr netip.Addr) bool {
	return slices.ContainsFunc(t, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ClientAddr answers where a request comes from: IPv4 is never written as IPv6, and there is no zone. Behind trusted proxies
// it is the nearest address that is none of theirs; what stands further left was written by strangers. If a trusted proxy
// passes on something that is no address, the peer's own is answered. The zero Addr means that there is none, as with
// connections in memory.
func (t Trusted) ClientAddr(r *http.Request) netip.Addr {
	peer := Addr(r.RemoteAddr)
	lines := r.Header["X-Forwarded-For"]
	if len(lines) == 0 || !t.Contains(peer) {
		return peer
	}
	addr := peer
	for _, line := range slices.Backward(lines) {
		for more := true; more; {
			var hop string
			hop, line, more = cutLast(line)
			next, ok := parseHop(hop)
			if !ok {
				return peer
			}
			if addr = next; !t.Contains(addr) {
				return addr
			}
		}
	}
	return addr
}

// Addr answers the address of a host and port, as connections tell it.
func Addr(hostPort string) netip.Addr {
	at, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return plain(at.Addr())
}

// Network answers what counts as one address where something is limited: a v4 address, or a v6 /64, which is what one
// household or machine is given. The zero Addr has the zero Prefix.
func Network(addr netip.Addr) netip.Prefix {
	addr = plain(addr)
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil { // of the zero Addr only
		return netip.Prefix{}
	}
	return p
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// cutLast takes the last element off a list with commas; more says whether any is left.
func cutLast(list string) (last, rest string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return list, "", false
	}
	return list[i+1:], list[:i], true
}

// parseHop reads an address, which some proxies write with the port.
func parseHop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return plain(addr), true
	}
	addr := Addr(text)
	return addr, addr.IsValid()
}
