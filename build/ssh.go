package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/moby/buildkit/session/sshforward"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	ctor "github.com/ctorhq/ctor"
)

// SSH is an agent that the command of a RUN may have sign for it: one that runs on
// this host, or keys that this program has. The command never sees a key, and can
// neither add nor remove one.
type SSH struct {
	// Agent is the path of the socket of an agent, as SSH_AUTH_SOCK has it.
	Agent string

	// Keys are private keys, as ssh-keygen writes them, without a passphrase. There
	// are keys or an Agent, and not both.
	Keys [][]byte
}

// agents are those of a build, as its session gives them.
type agents map[string]func(context.Context) (net.Conn, error)

var _ sshforward.SSHServer = agents(nil)

// newAgents reads the keys.
func newAgents(list map[string]SSH) (agents, error) {
	a := agents{}
	for name, s := range list {
		dial, err := s.dialer()
		if err != nil {
			return nil, fmt.Errorf("ssh %q: %w (%w)", name, err, ctor.ErrInvalid)
		}
		a[name] = dial
	}
	return a, nil
}

// dialer gives what connects to an agent.
func (s SSH) dialer() (func(context.Context) (net.Conn, error), error) {
	if (s.Agent == "") == (len(s.Keys) == 0) {
		return nil, errors.New("it needs an Agent, or Keys")
	}
	if s.Agent != "" {
		return s.dialAgent, nil
	}
	ring := agent.NewKeyring()
	for n, key := range s.Keys {
		k, err := ssh.ParseRawPrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", n, err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: k}); err != nil {
			return nil, fmt.Errorf("key %d: %w", n, err)
		}
	}
	return func(context.Context) (net.Conn, error) { return signing(ring.(agent.ExtendedAgent), nil), nil }, nil
}

func (s SSH) dialAgent(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", s.Agent)
	if err != nil {
		return nil, err
	}
	return signing(agent.NewClient(c), c), nil
}

// signing is a connection to an agent that lists its keys, signs with them and does
// nothing else. below is closed with it, unless it is nil.
func signing(a agent.ExtendedAgent, below io.Closer) net.Conn {
	theirs, ours := net.Pipe()
	go func() {
		defer theirs.Close()
		if below != nil {
			defer below.Close()
		}
		for {
			request, err := readMessage(theirs)
			if err != nil {
				return
			}
			if err := writeMessage(theirs, answer(a, request)); err != nil {
				return
			}
		}
	}()
	if below == nil {
		return ours
	}
	return &above{ours, below}
}

// above is a connection that is closed with what is below it, so that nothing waits
// on for an agent that does not answer.
type above struct {
	net.Conn
	below io.Closer
}

func (a *above) Close() error {
	return errors.Join(a.Conn.Close(), a.below.Close())
}

// Register implements session.Attachable.
func (a agents) Register(s *grpc.Server) { sshforward.RegisterSSHServer(s, a) }

func (a agents) named(id string) (func(context.Context) (net.Conn, error), error) {
	if id == "" {
		id = sshforward.DefaultID
	}
	dial, ok := a[id]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "ssh agent %q is not among Options.SSH", id)
	}
	return dial, nil
}

// CheckAgent implements sshforward.SSHServer.
func (a agents) CheckAgent(_ context.Context, r *sshforward.CheckAgentRequest) (*sshforward.CheckAgentResponse, error) {
	if _, err := a.named(r.ID); err != nil {
		return nil, err
	}
	return &sshforward.CheckAgentResponse{}, nil
}

// ForwardAgent implements sshforward.SSHServer.
func (a agents) ForwardAgent(stream sshforward.SSH_ForwardAgentServer) error {
	id := ""
	if md, ok := metadata.FromIncomingContext(stream.Context()); ok && len(md[sshforward.KeySSHID]) > 0 {
		id = md[sshforward.KeySSHID][0]
	}
	dial, err := a.named(id)
	if err != nil {
		return err
	}
	c, err := dial(stream.Context())
	if err != nil {
		return err
	}
	// It is closed at the stream's end also while the agent does not answer.
	defer context.AfterFunc(stream.Context(), func() { c.Close() })()
	return sshforward.Copy(stream.Context(), c, stream, nil)
}
