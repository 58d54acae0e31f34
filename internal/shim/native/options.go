package native

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
)

// options are a mount's, sorted.
type options struct {
	bind, recursive bool
	remount         bool
	set, clear      uint64 // MOUNT_ATTR_*
	setAll          uint64 // of all mounts below, too
	clearAll        uint64
	propagation     []propagation
	own             []forker.Option // the file system's
}

type propagation struct {
	kind      uint64
	recursive bool
}

// attributes are words for MOUNT_ATTR_*; with no or without it, they are cleared.
var attributes = map[string]struct {
	attribute uint64
	clear     bool
}{
	"ro": {unix.MOUNT_ATTR_RDONLY, false}, "rw": {unix.MOUNT_ATTR_RDONLY, true},
	"nosuid": {unix.MOUNT_ATTR_NOSUID, false}, "suid": {unix.MOUNT_ATTR_NOSUID, true},
	"nodev": {unix.MOUNT_ATTR_NODEV, false}, "dev": {unix.MOUNT_ATTR_NODEV, true},
	"noexec": {unix.MOUNT_ATTR_NOEXEC, false}, "exec": {unix.MOUNT_ATTR_NOEXEC, true},
	"noatime": {unix.MOUNT_ATTR_NOATIME, false}, "atime": {unix.MOUNT_ATTR_NOATIME, true},
	"nodiratime": {unix.MOUNT_ATTR_NODIRATIME, false}, "diratime": {unix.MOUNT_ATTR_NODIRATIME, true},
	"strictatime": {unix.MOUNT_ATTR_STRICTATIME, false}, "nostrictatime": {unix.MOUNT_ATTR_STRICTATIME, true},
	"relatime": {unix.MOUNT_ATTR_RELATIME, false}, "norelatime": {unix.MOUNT_ATTR_RELATIME, true},
	"nosymfollow": {unix.MOUNT_ATTR_NOSYMFOLLOW, false}, "symfollow": {unix.MOUNT_ATTR_NOSYMFOLLOW, true},
}

var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE, "shared": unix.MS_SHARED, "unbindable": unix.MS_UNBINDABLE,
}

// superblock are the words that are a file system's own, whatever it is, and that
// say what it is anyway.
var superblock, nothing = []string{"sync", "dirsync", "lazytime", "mand"},
	[]string{"async", "nolazytime", "nomand", "defaults", "loud", "silent"}

// parse sorts the options of a mount. What it does not know of is the file system's.
func parse(m specs.Mount) (o options, err error) {
	for _, word := range m.Options {
		a, isAttribute := attributes[word]
		all, isAll := attributes[strings.TrimPrefix(word, "r")]
		kind, isPropagation := propagations[strings.TrimPrefix(word, "r")]
		switch {
		case word == "bind", word == "rbind":
			o.bind, o.recursive = true, o.recursive || word == "rbind"
		case word == "remount":
			o.remount = true
		case isAttribute:
			apply(&o.set, &o.clear, a.attribute, a.clear)
		case isAll && word != "ro" && strings.HasPrefix(word, "r"):
			apply(&o.setAll, &o.clearAll, all.attribute, all.clear)
		case isPropagation:
			o.propagation = append(o.propagation, propagation{kind, strings.HasPrefix(word, "r")})
		case slices.Contains(nothing, word):
		case slices.Contains(superblock, word):
			o.own = append(o.own, forker.Option{Name: word})
		case word == "tmpcopyup", word == "idmap", word == "ridmap", word == "iversion", word == "noiversion":
			return o, beyondf("mount option %s", word)
		default:
			name, value, _ := strings.Cut(word, "=")
			if len(value) > maxValue && m.Type != "overlay" {
				return o, beyondf("a long mount option")
			}
			o.own = append(o.own, forker.Option{Name: name, Value: value})
		}
	}
	return o, nil
}

// apply notes a word: of two about one attribute, the last holds.
func apply(set, clear *uint64, attribute uint64, clears bool) {
	if clears {
		*set &^= attribute
		*clear |= attribute
		return
	}
	*set |= attribute
	*clear &^= attribute
}

// source is the option that says what is mounted, for the list of mounts.
func source(m specs.Mount) []forker.Option {
	if m.Source == "" {
		return nil
	}
	return []forker.Option{{Name: "source", Value: m.Source}}
}
