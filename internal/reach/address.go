package reach

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// An endpoint is an address of TCP or UDP as it was given.
type endpoint struct {
	network string
	host    string // "": none was given
	port    int
}

func parseEndpoint(ctx context.Context, network, address string) (endpoint, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return endpoint{}, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	return endpoint{network, host, port}, err
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// resolve gives the addresses that a host means in the container, those first
// that are to be tried first. No host, or an unspecified one, is the container
// itself.
func (d *door) resolve(ctx context.Context, process *os.File, e endpoint) ([]string, error) {
	ips, err := d.lookup(ctx, process, e.host)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, ip := range ips {
		if strings.HasSuffix(e.network, "4") && !ip.Is4() || strings.HasSuffix(e.network, "6") && !ip.Is6() {
			continue
		}
		all = append(all, net.JoinHostPort(ip.String(), strconv.Itoa(e.port)))
	}
	if len(all) == 0 {
		return nil, &net.AddrError{Err: "no suitable address found", Addr: e.host}
	}
	return all, nil
}

func (d *door) lookup(ctx context.Context, process *os.File, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		switch {
		case ip == netip.IPv4Unspecified():
			return []netip.Addr{loopback4}, nil
		case ip == netip.IPv6Unspecified():
			return []netip.Addr{loopback6, loopback4}, nil
		case ip.Zone() != "" && strings.Trim(ip.Zone(), "0123456789") != "":
			return nil, &net.AddrError{Err: "the zone must be the number of an interface in the container", Addr: host}
		}
		return []netip.Addr{ip}, nil
	}
	if host == "" || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return []netip.Addr{loopback4, loopback6}, nil
	}
	root, err := d.root(ctx, process)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open("etc/hosts")
	if err == nil {
		defer f.Close()
		if ips := lookupHosts(f, host); len(ips) > 0 {
			return ips, nil
		}
	}
	return nil, &net.DNSError{Err: "not in its /etc/hosts, and no name server is asked", Name: host, IsNotFound: true}
}

// The container writes its hosts file, and a dial tries each address in turn.
const (
	maxHosts     = 1 << 20 // bytes
	maxHostAddrs = 16      // of one name
)

// lookupHosts finds a name in a hosts file.
func lookupHosts(r io.Reader, name string) (ips []netip.Addr) {
	name = strings.TrimSuffix(name, ".")
	for lines := bufio.NewScanner(io.LimitReader(r, maxHosts)); lines.Scan() && len(ips) < maxHostAddrs; {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(fields[0])
		if err != nil || ip.Zone() != "" {
			continue
		}
		for _, f := range fields[1:] {
			if strings.EqualFold(f, name) {
				ips = append(ips, ip.Unmap())
				break
			}
		}
	}
	return ips
}
