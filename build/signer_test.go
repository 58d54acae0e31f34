package build

import (
	"crypto/ed25519"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func ring(t testing.TB) agent.ExtendedAgent {
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	r := agent.NewKeyring()
	require.NoError(t, r.Add(agent.AddedKey{PrivateKey: key, Comment: "one"}))
	return r.(agent.ExtendedAgent)
}

// What a client asks is answered as an agent does, and what would change the keys is
// refused.
func TestSigner(t *testing.T) {
	c := signing(ring(t), nil)
	defer c.Close()
	a := agent.NewClient(c)
	keys, err := a.List()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.Equal(t, "one", keys[0].Comment)
	sig, err := a.Sign(keys[0], []byte("data"))
	require.NoError(t, err)
	require.NoError(t, keys[0].Verify([]byte("data"), sig))
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	unknown, err := ssh.NewSignerFromKey(other)
	require.NoError(t, err)
	_, err = a.Sign(unknown.PublicKey(), []byte("data"))
	require.Error(t, err)
	require.Error(t, a.Add(agent.AddedKey{PrivateKey: other}))
	require.Error(t, a.RemoveAll())
	require.Error(t, a.Lock([]byte("x")))
	keys, err = a.List()
	require.NoError(t, err)
	require.Len(t, keys, 1)
}

// A message that is none ends the connection.
func TestSignerMessages(t *testing.T) {
	for _, m := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x00\x04\x00\x01"} {
		c := signing(ring(t), nil)
		_, err := c.Write([]byte(m))
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, c.Close())
	}
}

// Whatever a step sends, there is an answer.
func FuzzAnswer(f *testing.F) {
	r := ring(f)
	keys, err := r.List()
	require.NoError(f, err)
	f.Add([]byte{agentList})
	f.Add(ssh.Marshal(struct {
		Key   []byte `sshtype:"13"`
		Data  []byte
		Flags uint32
	}{keys[0].Marshal(), []byte("data"), 2}))
	f.Add([]byte{agentSign, 0, 0, 0, 9, 1})
	f.Fuzz(func(t *testing.T, m []byte) {
		if len(m) == 0 {
			return
		}
		if said := answer(r, m); len(said) == 0 {
			t.Fatal("no answer")
		}
	})
}

// A connection to an agent that does not answer leaves nothing behind.
func TestSignerSilent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer l.Close()
	c, err := SSH{Agent: socket}.dialAgent(t.Context())
	require.NoError(t, err)
	silent, err := l.Accept()
	require.NoError(t, err)
	defer silent.Close()
	list := []byte{11} // SSH_AGENTC_REQUEST_IDENTITIES
	require.NoError(t, writeMessage(c, list))
	asked, err := readMessage(silent)
	require.NoError(t, err)
	require.Equal(t, list, asked)
	require.NoError(t, c.Close())
	_, err = readMessage(silent)
	require.ErrorIs(t, err, io.EOF)
}
