// Package durable replaces files so that neither a kill nor a power cut leaves half of
// one behind.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace gives a file of a directory another content, and makes it if there is none.
// A reader finds the old content or the new one, and so does a program after a power
// cut; once Replace has returned, that is the new one. One call for a file at a time.
func Replace(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	if err := write(path+".new", content); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// write makes a file whose content is on the disk.
func write(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
