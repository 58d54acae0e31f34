package links

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/unwind"
)

// A Plan is what a configuration says of a container's network. The zero value is one of
// its own, without a way out.
type Plan struct {
	Out   egress.Dialer // what makes its connections to the outside; nil: nothing, or a network's
	Joins []lan.Join    // the networks that it is in, in the order of their interfaces

	whole []string // of the parts, those that go with no other: Host, Share
	share *Links   // of Share
}

// Host is the host's own network.
func Host() Plan { return Plan{whole: []string{hostNetwork}} }

// Share is the network of another container. nil is none, which Check refuses.
func Share(other *Links) Plan {
	switch {
	case other == nil:
	case other.plan.host():
		return Host()
	case other.plan.share != nil:
		other = other.plan.share
	}
	return Plan{whole: []string{sharedByAnother}, share: other}
}

const (
	hostNetwork     = "the host's network"
	sharedByAnother = "another container's network"
)

func (p Plan) host() bool { return slices.Contains(p.whole, hostNetwork) }

// And gives a container both.
func (p Plan) And(other Plan) Plan {
	both := Plan{Out: p.Out, share: p.share, Joins: slices.Concat(p.Joins, other.Joins), whole: slices.Concat(p.whole, other.whole)}
	switch {
	case both.Out == nil:
		both.Out = other.Out
	case other.Out != nil:
		both.whole = append(both.whole, "a second way out")
	}
	if both.share == nil {
		both.share = other.share
	}
	return both
}

// DialContext connects as a container of the plan does to the outside, but from the
// program.
func (p Plan) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if p.share != nil {
		return p.share.plan.DialContext(ctx, network, address)
	}
	if p.host() {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	out := p.Out
	for _, j := range p.Joins {
		if out == nil {
			out = j.Network.Out
		}
	}
	if out != nil {
		return out(ctx, network, address)
	}
	for _, j := range p.Joins {
		if j.Network.Routed {
			return j.Network.DialOut(ctx, network, address)
		}
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: there is no way out of the network: %w", address, syscall.ECONNREFUSED)}
}

// Check finds what is wrong with the plan of a container that is detached or kept, or
// neither, before anything is made.
func (p Plan) Check(detached, kept bool) error {
	if slices.Contains(p.whole, sharedByAnother) && p.share == nil {
		return invalid("network: it is that of no container")
	}
	if len(p.whole) > 1 || len(p.whole) == 1 && (p.Out != nil || len(p.Joins) > 0) {
		return invalid("network: %s goes with nothing else", p.whole[0])
	}
	switch {
	case p.share != nil && (detached || kept):
		return invalid("a container that shares a network, which this program alone knows, can't outlive it")
	case len(p.Joins) > 0 && detached:
		return errOutlives
	case p.routed() && p.policed():
		return errPoliced
	case p.Out == nil:
		return nil
	}
	if err := egress.Check(p.Out); err != nil || !detached {
		return err
	}
	if _, err := egress.Marshal(p.Out); err != nil {
		return fmt.Errorf("a detached container outlives this program: %w", err)
	}
	return nil
}

var (
	errOutlives = invalid("a network is this program's, and a detached container outlives it")
	errPoliced  = invalid("it has a way out that is a policy, which would not hold in a network with Config.Masquerade")
)

// routed tells whether one of the networks leads to the host's, and policed whether
// there is a way out that a policy decides on.
func (p Plan) routed() bool {
	return slices.ContainsFunc(p.Joins, func(j lan.Join) bool { return j.Network.Routed })
}

func (p Plan) policed() bool {
	return p.Out != nil || slices.ContainsFunc(p.Joins, func(j lan.Join) bool { return j.Network.Out != nil })
}

// Enter claims names and addresses in the networks of a container that is being made.
// undo gives them back. The members are in the order of their interfaces.
func (p Plan) Enter(of *lan.Set, id, name string, undo *unwind.Stack) (members []*lan.Member, err error) {
	for _, j := range p.Joins {
		if !of.Of(j.Network) {
			return nil, invalid("network %q is another engine's", j.Network.Name)
		}
		m, err := j.Network.Enter(id, name, j.Aliases)
		if err != nil {
			return nil, fmt.Errorf("network %q: %w", j.Network.Name, err)
		}
		undo.Push(func() error { m.Forget(); return nil })
		members = append(members, m)
	}
	return members, nil
}

// Prepare adds to a configuration what the network needs: files, and variables. root has
// the container's files, and ca makes the engine's authority.
func (p Plan) Prepare(o *spec.Options, root *rootfs.Root, ca func() (*egress.CA, error)) (err error) {
	if p.host() {
		return o.UseHost()
	}
	if p.share != nil {
		o.ShareNet = sharedNetwork(o.Files)
	}
	asks, trusts := p.demands()
	if asks {
		o.ResolvConf = fmt.Sprintf("nameserver %s\n", reach.Resolver)
	}
	if !trusts {
		return nil
	}
	authority, err := ca()
	if err != nil {
		return err
	}
	o.Stores, o.StoreValues, err = spec.Trust(root, o.Files, authority.Certificate())
	return err
}

// sharedNetwork is where, among a container's files, the runtime finds the
// namespace that it shares. It is there only while a process is created.
func sharedNetwork(dir string) string { return filepath.Join(dir, "network") }

// demands tells whether a container asks the way out for names, and whether it
// trusts the engine's authority: it does so from its beginning or never.
func (p Plan) demands() (asks, trusts bool) {
	if other := p.share; other != nil {
		return other.about.Out != nil || len(other.plan.Joins) > 0, spec.Trusts(other.dir())
	}
	if p.Out != nil {
		return true, egress.Answers(p.Out)
	}
	return len(p.Joins) > 0, slices.ContainsFunc(p.Joins, func(j lan.Join) bool {
		return j.Network.Out != nil && egress.Answers(j.Network.Out)
	})
}

// Record is what later programs must know of the way out; nil: there is none.
func (p Plan) Record() *record.Out {
	if p.Out == nil {
		return nil
	}
	policy, err := egress.Marshal(p.Out)
	if err != nil {
		return &record.Out{} // a function
	}
	return &record.Out{Policy: policy}
}
