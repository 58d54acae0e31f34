package criu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/encoding/protowire"
)

// CRIU's image of a process, as far as it matters here: two words of magic, the
// length of a message, and that message, in images/core.proto a core_entry.
const (
	coreMagic  = 8
	coreHeader = coreMagic + 4
	threadCore = 5 // core_entry.thread_core
	pdeathSig  = 8 // thread_core_entry.pdeath_sig
)

// Untie takes out of the images the signal that the first process gets when its
// parent ends, which libcontainer's containers ask for. The parent of a restored
// process is a command, and ends.
func Untie(images string) error {
	path := filepath.Join(images, "core-1.img")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) { // it has no pid namespace of its own, so is not the first there
		return nil
	}
	if err != nil {
		return err
	}
	if len(b) < coreHeader || uint64(len(b)-coreHeader) < uint64(binary.NativeEndian.Uint32(b[coreMagic:])) {
		return fmt.Errorf("%s: it is cut off: %w", path, errdefs.ErrDataLoss)
	}
	entry := b[coreHeader:][:binary.NativeEndian.Uint32(b[coreMagic:])]
	signal := field(field(entry, threadCore), pdeathSig)
	if len(signal) != 1 || signal[0] == 0 {
		return nil // there is none: signals have numbers of one byte
	}
	signal[0] = 0
	return os.WriteFile(path, b, 0o600)
}

// field gives the value of a message's field as it is encoded, without a length;
// nil if there is none.
func field(message []byte, number protowire.Number) []byte {
	for len(message) > 0 {
		n, kind, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			return nil
		}
		message = message[tag:]
		size := protowire.ConsumeFieldValue(n, kind, message)
		if size < 0 {
			return nil
		}
		value := message[:size]
		if n == number {
			if kind == protowire.BytesType {
				value, _ = protowire.ConsumeBytes(value)
			}
			return value
		}
		message = message[size:]
	}
	return nil
}
