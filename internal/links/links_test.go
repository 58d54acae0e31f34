package links

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/netns/netnstest"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/unwind"
)

// named is a container of which only the names matter.
type named struct{ id, name string }

func (n *named) ID() string   { return n.id }
func (n *named) Name() string { return n.name }

func (*named) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

func (*named) Offer(context.Context, string) (func() error, error) { return nil, errors.ErrUnsupported }

func engineOf(t *testing.T) *engine.Engine {
	e := &engine.Engine{Files: t.TempDir(), Doors: reach.Here(t.Context())}
	e.Init()
	t.Cleanup(func() { require.NoError(t, e.Networks.Close()) })
	return e
}

func open(t *testing.T, e *engine.Engine, name string) *lan.Network {
	t.Helper()
	n := &lan.Network{Name: name}
	err := e.Networks.Open(n, e.Doors)
	if errdefs.IsUnavailable(err) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return n
}

// process starts one in a network namespace of its own, and gives its pid.
func process(t *testing.T) (pid int, end func()) {
	t.Helper()
	pidfd, end := netnstest.Process(t)
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Fd()))
	require.NoError(t, err)
	pid, err = strconv.Atoi(regexp.MustCompile(`(?m)^Pid:\s*(\d+)$`).FindStringSubmatch(string(info))[1])
	require.NoError(t, err)
	return pid, end
}

// interfaces are those of a process, but for the loopback and that of a way out.
func interfaces(t *testing.T, pid int) string {
	t.Helper()
	dev, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	require.NoError(t, err)
	return strings.Join(regexp.MustCompile(`eth\d+`).FindAllString(string(dev), -1), " ")
}

// Over two lives a container keeps its names and addresses, and enters and leaves
// networks in between and meanwhile.
func TestLinks(t *testing.T) {
	pid, end := process(t)
	e := engineOf(t)
	a, b := open(t, e, "a"), open(t, e, "b")
	c := &named{"id", "web"}
	plan := Plan{Joins: []lan.Join{{Network: a, Aliases: []string{"www"}}}}
	var undo unwind.Stack
	members, err := plan.Enter(&e.Networks, c.id, c.name, &undo)
	require.NoError(t, err)
	l := New(e, c, record.Record{})
	l.Take(plan, members)
	at := l.Addresses()["a"]
	finds := func(n *lan.Network, name string, lives bool) {
		t.Helper()
		found, known := n.Lookup(name)
		require.True(t, known)
		if lives {
			require.Equal(t, l.Addresses()[n.Name], found)
		} else {
			require.Empty(t, found)
		}
	}
	finds(a, "www", false)
	require.NoError(t, l.Begin(pid))
	require.Equal(t, "eth0", interfaces(t, pid))
	finds(a, "www", true)

	require.NoError(t, l.Connect(lan.Join{Network: b}))
	require.ErrorIs(t, l.Connect(lan.Join{Network: b}), errdefs.ErrAlreadyExists)
	require.Equal(t, "eth0 eth1", interfaces(t, pid))
	finds(b, "web", true)

	_, err = b.Enter("other", "taken", nil)
	require.NoError(t, err)
	require.ErrorIs(t, l.Rename("taken"), errdefs.ErrAlreadyExists)
	finds(a, "web", true) // in both, or in none
	require.NoError(t, l.Rename("site"))
	c.name = "site"
	finds(a, "site", true)
	finds(b, "site", true)

	require.NoError(t, l.Disconnect(a))
	require.ErrorIs(t, l.Disconnect(a), errdefs.ErrNotFound)
	require.Equal(t, "eth1", interfaces(t, pid))
	_, known := a.Lookup("www")
	require.False(t, known)

	end()
	require.NoError(t, l.End())
	finds(b, "site", false)
	require.NoError(t, l.Connect(lan.Join{Network: a}), "between two lives")
	require.NotEqual(t, at, l.Addresses()["a"], "an address is another's as late as can be")
	pid, _ = process(t)
	require.NoError(t, l.Begin(pid))
	require.Equal(t, "eth0 eth1", interfaces(t, pid))
	finds(a, "site", true)

	l.Leave()
	_, known = a.Lookup("site")
	require.False(t, known)
	require.Empty(t, l.Addresses())
	require.ErrorIs(t, l.Connect(lan.Join{Network: a}), reach.ErrClosed)
}

// A life that can't be linked leaves nothing.
func TestBeginFails(t *testing.T) {
	pid, end := process(t)
	e := engineOf(t)
	a := open(t, e, "a")
	c := &named{"id", "web"}
	plan := Plan{Joins: []lan.Join{{Network: a}}}
	var undo unwind.Stack
	members, err := plan.Enter(&e.Networks, c.id, c.name, &undo)
	require.NoError(t, err)
	l := New(e, c, record.Record{Out: &record.Out{}})
	l.Take(plan, members)
	require.ErrorIs(t, l.Begin(pid), errdefs.ErrInvalidArgument, "its way out was a function of another program")
	require.ErrorIs(t, l.Check(), errdefs.ErrInvalidArgument)
	require.Empty(t, interfaces(t, pid))
	require.NoError(t, l.SetOut(t.Context(), egress.Allow()))
	require.NoError(t, l.Check())
	end()
	require.Error(t, l.Begin(pid), "it has ended")
	at, known := a.Lookup("web")
	require.True(t, known)
	require.Empty(t, at)
	require.NoError(t, undo.Run())
	require.False(t, a.Used())
}

// What goes with nothing else, and what outlives the program, is found before anything
// is made.
func TestPlan(t *testing.T) {
	e := &engine.Engine{Files: t.TempDir()}
	policed := Plan{Joins: []lan.Join{{Network: &lan.Network{Out: egress.Allow()}}}}
	routed := Plan{Joins: []lan.Join{{Network: &lan.Network{Routed: true}}}}
	out := Plan{Out: egress.Allow()}
	function := Plan{Out: func(context.Context, string, string) (net.Conn, error) { return nil, nil }}
	other := New(e, &named{"id", "other"}, record.Record{})
	hosts := New(e, &named{"id2", "hosts"}, record.Record{})
	hosts.Take(Host(), nil)
	sharing := New(e, &named{"id3", "sharing"}, record.Record{})
	sharing.Take(Share(other), nil)
	for name, c := range map[string]struct {
		plan     Plan
		detached bool
		bad      string
	}{
		"none":                 {Plan{}, true, ""},
		"host":                 {Host(), true, ""},
		"host and out":         {Host().And(out), false, "goes with nothing else"},
		"two ways out":         {out.And(out), false, "a second way out"},
		"out and a policy":     {out.And(policed), false, ""},
		"out and a route":      {out.And(routed), false, "would not hold"},
		"a policy and a route": {policed.And(routed), false, "would not hold"},
		"data, detached":       {out, true, ""},
		"function, detached":   {function, true, "outlives"},
		"joined, detached":     {policed, true, "outlives"},
		"shared":               {Share(other), false, ""},
		"shared, detached":     {Share(other), true, "can't outlive"},
		"shared of none":       {Share(nil), false, "no container"},
		"shared of the host":   {Share(hosts), true, ""},
		"shared of shared":     {Share(sharing).And(out), false, "goes with nothing else"},
	} {
		err := c.plan.Check(c.detached, false)
		if c.bad == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.bad, name)
	}
	require.Same(t, other, Share(sharing).share)
	require.Nil(t, Plan{}.Record())
	require.NotNil(t, out.Record().Policy)
	require.Nil(t, function.Record().Policy)
}
