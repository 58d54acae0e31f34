package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// stores are where programs look for the certificates that they trust. The
// first is there in any case: it is what the variables name.
var stores = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine
	"/etc/ssl/cert.pem",                                 // Alpine, and what is made with OpenSSL's defaults
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Red Hat
	"/etc/pki/tls/certs/ca-bundle.crt",                  // older Red Hat
	"/etc/ssl/ca-bundle.pem",                            // SUSE
}

// storeVariables name the store to programs that look elsewhere.
var storeVariables = []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"}

// mostStore is how large a store of an image may be; usual ones have 250 kB.
const mostStore = 4 << 20

// Trust has a container trust a certificate, beside what its image trusts: by
// files in dir that lie over the image's, and by variables for the environment.
// Java's programs have a store of another kind, and don't learn of it.
func Trust(root *rootfs.Root, dir string, certificate []byte) (mounts []specs.Mount, env []string, err error) {
	for i, at := range stores {
		bundle, err := readStore(root, at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && i > 0:
			continue
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, nil, fmt.Errorf("certificates in %s: %w", at, err)
		}
		if len(bundle) > 0 {
			bundle = append(bundle, '\n')
		}
		source := filepath.Join(dir, fmt.Sprintf("certificates-%d", i))
		if err := writeReadable(source, append(bundle, certificate...)); err != nil {
			return nil, nil, err
		}
		mounts = append(mounts, specs.Mount{Type: "bind", Source: source, Destination: at, Options: []string{"bind", "rprivate", "ro"}})
	}
	for _, v := range storeVariables {
		env = append(env, v+"="+stores[0])
	}
	return mounts, env, os.WriteFile(authority(dir), certificate, 0o600)
}

// authority is where the certificate is kept that Trust was given last.
func authority(dir string) string { return filepath.Join(dir, "authority") }

// Trusts tells whether Trust was called for a container whose files are in dir.
func Trusts(dir string) bool {
	_, err := os.Stat(authority(dir))
	return err == nil
}

// Retrust puts another certificate in the place of the one that Trust has added,
// in the files that a container has mounted or will have.
func Retrust(dir string, certificate []byte) error {
	old, err := os.ReadFile(authority(dir))
	if err != nil || bytes.Equal(old, certificate) {
		return err
	}
	for i := range stores {
		name := filepath.Join(dir, fmt.Sprintf("certificates-%d", i))
		bundle, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if bytes.HasSuffix(bundle, certificate) {
			continue // an earlier call was cut off
		}
		bundle, _ = bytes.CutSuffix(bundle, old)
		if err := writeReadable(name, append(bundle, certificate...)); err != nil {
			return err
		}
	}
	return os.WriteFile(authority(dir), certificate, 0o600)
}

// readStore reads a store that is a file of its own. A store that is a link is
// left out: it leads to another store in the list.
func readStore(root *rootfs.Root, name string) ([]byte, error) {
	if st, err := root.Lstat(name[1:]); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	f, err := root.Open(name[1:])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostStore+1))
	if err == nil && len(b) > mostStore {
		err = fmt.Errorf("they have more than %d bytes: %w", mostStore, errdefs.ErrInvalidArgument)
	}
	return b, err
}

// writeReadable writes a file that every user may read, whatever the program's
// umask is.
func writeReadable(name string, data []byte) error { return writeFile(name, data, 0o644) }

// writeFile writes a file whose mode is not the umask's.
func writeFile(name string, data []byte, mode fs.FileMode) error {
	if err := os.WriteFile(name, data, 0o600); err != nil {
		return err
	}
	return os.Chmod(name, mode)
}
