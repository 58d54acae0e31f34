package build

import (
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Messages of the agent protocol, in the numbers of its draft
// (draft-ietf-sshm-ssh-agent). The server of x/crypto would write what a step does
// wrong to the program's log.
const (
	agentFailure = 5
	agentList    = 11
	agentListed  = 12
	agentSign    = 13

	longestMessage = 256 << 10 // that OpenSSH's agent takes
)

// answer is what an agent says to a message that is not empty.
func answer(a agent.ExtendedAgent, request []byte) []byte {
	var (
		said []byte
		err  error
	)
	switch request[0] {
	case agentList:
		said, err = listed(a)
	case agentSign:
		said, err = signed(a, request)
	default:
		return []byte{agentFailure}
	}
	if err != nil {
		return []byte{agentFailure}
	}
	return said
}

func listed(a agent.ExtendedAgent) ([]byte, error) {
	keys, err := a.List()
	if err != nil {
		return nil, err
	}
	said := binary.BigEndian.AppendUint32([]byte{agentListed}, uint32(len(keys)))
	for _, k := range keys {
		said = append(said, ssh.Marshal(struct {
			Key     []byte
			Comment string
		}{k.Marshal(), k.Comment})...)
	}
	return said, nil
}

func signed(a agent.ExtendedAgent, request []byte) ([]byte, error) {
	var r struct {
		Key   []byte `sshtype:"13"`
		Data  []byte
		Flags uint32
	}
	if err := ssh.Unmarshal(request, &r); err != nil {
		return nil, err
	}
	key, err := ssh.ParsePublicKey(r.Key)
	if err != nil {
		return nil, err
	}
	sig, err := a.SignWithFlags(key, r.Data, agent.SignatureFlags(r.Flags))
	if err != nil {
		return nil, err
	}
	return ssh.Marshal(struct {
		Signature []byte `sshtype:"14"`
	}{ssh.Marshal(sig)}), nil
}

func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > longestMessage {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	m := make([]byte, size)
	_, err := io.ReadFull(r, m)
	return m, err
}

func writeMessage(w io.Writer, m []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...))
	return err
}
