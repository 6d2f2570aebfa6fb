package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// errForbiddenAddress tells that a provider's name led to an address that the pool must not connect to. Its text does not
// reach clients.
var errForbiddenAddress = errors.New("the address is not one that this provider may be at")

// privateNets are reached, like loopback, only if the provider says allow_private_addresses.
var privateNets = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // private
	"100.64.0.0/10", // shared: carriers and mesh VPNs
	"fc00::/7",      // unique local
)

// forbiddenNets are never reached. Most of IANA's special-purpose registries, and the clouds' metadata services, which lie
// partly within private nets.
var forbiddenNets = prefixes(
	"0.0.0.0/8", "::/128", // this host
	"169.254.0.0/16", "fe80::/10", // link-local: the metadata service
	"fd00:ec2::/32", "fd20:ce::/32", "100.100.100.200/32", "168.63.129.16/32", // metadata services elsewhere
	"192.0.0.0/24",                                      // protocol assignments
	"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation
	"2001:db8::/32", "3fff::/20", // documentation
	"192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24", "2620:4f:8000::/48", "2001:4:112::/48", // AS112, AMT
	"192.88.99.0/24", "2002::/16", // 6to4
	"198.18.0.0/15", "2001:2::/48", // benchmarking
	"224.0.0.0/4", "ff00::/8", // multicast
	"240.0.0.0/4",    // reserved, with limited broadcast
	"::/96",          // IPv4-compatible
	"64:ff9b::/96",   // NAT64: whatever IPv4 address is inside
	"64:ff9b:1::/48", // NAT64, local use
	"100::/64",       // discard
	"2001::/32",      // Teredo
	"2001:10::/28",   // ORCHID
	"2001:20::/28",   // ORCHIDv2
	"5f00::/16",      // segment routing
	"fec0::/10",      // site-local
)

func prefixes(list ...string) []netip.Prefix {
	nets := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		nets = append(nets, netip.MustParsePrefix(s))
	}
	return nets
}

// mayConnect says whether an upstream may be at the address.
func mayConnect(addr netip.Addr, allowPrivate bool) bool {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return false
	case addr.IsLoopback():
		return allowPrivate
	case within(forbiddenNets, addr):
		return false
	case within(privateNets, addr):
		return allowPrivate
	default:
		return true
	}
}

func within(nets []netip.Prefix, addr netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// guard looks at each address that is about to be connected to, after the name was resolved, so that no name and no change
// of one leads past it.
func guard(allowPrivate bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %w", errForbiddenAddress, err)
		}
		if !mayConnect(at.Addr(), allowPrivate) {
			return errForbiddenAddress
		}
		return nil
	}
}
