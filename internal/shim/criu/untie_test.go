package criu

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestUntie(t *testing.T) {
	// core is an image with a signal: CRIU writes more fields, before and after.
	core := func(signal uint64) []byte {
		var thread, entry []byte
		thread = protowire.AppendVarint(protowire.AppendTag(thread, 1, protowire.VarintType), 1<<40)
		thread = protowire.AppendBytes(protowire.AppendTag(thread, 6, protowire.BytesType), []byte("creds"))
		thread = protowire.AppendVarint(protowire.AppendTag(thread, pdeathSig, protowire.VarintType), signal)
		thread = protowire.AppendVarint(protowire.AppendTag(thread, 9, protowire.VarintType), 1)
		entry = protowire.AppendVarint(protowire.AppendTag(entry, 1, protowire.VarintType), 1)
		entry = protowire.AppendBytes(protowire.AppendTag(entry, threadCore, protowire.BytesType), thread)
		b := append([]byte("\x19\x43\x56\x54magi"), binary.LittleEndian.AppendUint32(nil, uint32(len(entry)))...)
		return append(b, entry...)
	}
	for _, c := range []struct {
		name        string
		image, want []byte
		err         error
	}{
		{"tied", core(9), core(0), nil},
		{"not tied", core(0), core(0), nil},
		{"empty message", make([]byte, coreHeader), make([]byte, coreHeader), nil},
		{"rubbish", append(make([]byte, coreMagic), "\x04\x00\x00\x00\xff\xff\xff\xff"...), append(make([]byte, coreMagic), "\x04\x00\x00\x00\xff\xff\xff\xff"...), nil},
		{"cut off", core(9)[:30], core(9)[:30], errdefs.ErrDataLoss},
		{"empty", nil, []byte{}, errdefs.ErrDataLoss},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "core-1.img")
			require.NoError(t, os.WriteFile(path, c.image, 0o600))
			require.ErrorIs(t, Untie(dir), c.err)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, c.want, b)
		})
	}
}
