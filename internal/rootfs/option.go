package rootfs

import (
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
)

// escaped is a directory as overlay's options have it, in which a comma and a
// colon stand between others.
var escaped = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `:`, `\:`)

// lowerOption is the option of an overlay with these layers, the top one first.
func lowerOption(dirs []string) string {
	var list []string
	for _, d := range dirs {
		list = append(list, escaped.Replace(d))
	}
	return "lowerdir=" + strings.Join(list, ":")
}

// directories are those of an option's value, of which there is one at least.
func directories(value string) []string {
	var list []string
	var dir strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && i+1 < len(value):
			i++
			dir.WriteByte(value[i])
		case c == ':':
			list = append(list, dir.String())
			dir.Reset()
		default:
			dir.WriteByte(c)
		}
	}
	return append(list, dir.String())
}

// Escape makes of a snapshotter's mounts, which names directories below root as
// they are, those that mount(2) takes.
func Escape(mounts []mount.Mount, root string) []mount.Mount {
	if escaped.Replace(root) == root {
		return mounts
	}
	var list []mount.Mount
	for _, m := range mounts {
		if m.Type == "overlay" {
			var options []string
			for _, o := range m.Options {
				options = append(options, strings.ReplaceAll(o, root, escaped.Replace(root)))
			}
			m.Options = options
		}
		list = append(list, m)
	}
	return list
}

// Upper gives the directory that an overlay writes to, and Below the uppermost one
// that shines through; "" if there is none.
func Upper(mounts []mount.Mount) string {
	upper, _ := ends(mounts)
	return upper
}

// Below is the counterpart of Upper.
func Below(mounts []mount.Mount) string {
	_, below := ends(mounts)
	return below
}

// Directories are those of a snapshot that is only read, the uppermost first.
func Directories(mounts []mount.Mount) []string {
	if len(mounts) == 1 && mounts[0].Type == "overlay" {
		return layersOf(mounts[0], false).lower
	}
	var list []string
	for _, m := range mounts {
		list = append(list, m.Source)
	}
	return list
}

// Written are the mounts of a layer that was written over those below it, of a snapshot
// that is only read: what Diff takes. Where the snapshot is no overlay of several layers
// they are its own.
func Written(mounts []mount.Mount) []mount.Mount {
	if len(mounts) != 1 || mounts[0].Type != "overlay" {
		return mounts
	}
	l := layersOf(mounts[0], false)
	if len(l.lower) < 2 {
		return mounts
	}
	m := mounts[0]
	m.Options = append(slices.Clone(l.options), "upperdir="+escaped.Replace(l.lower[0]), lowerOption(l.lower[1:]))
	return []mount.Mount{m}
}

func ends(mounts []mount.Mount) (upper, below string) {
	for _, m := range mounts {
		if m.Type != "overlay" {
			continue
		}
		l := layersOf(m, true)
		if len(l.lower) > 0 {
			below = l.lower[0]
		}
		return l.upper, below
	}
	return "", ""
}

// Over is an overlay's mount with other directories to write to and to work in.
func Over(m mount.Mount, upper, work string) mount.Mount {
	var options []string
	for _, o := range m.Options {
		switch name, _, _ := strings.Cut(o, "="); name {
		case "upperdir":
			o = "upperdir=" + escaped.Replace(upper)
		case "workdir":
			o = "workdir=" + escaped.Replace(work)
		}
		options = append(options, o)
	}
	m.Options = options
	return m
}

// Under is an overlay's mount with one more layer, below the others.
func Under(m mount.Mount, bottom string) mount.Mount {
	var options []string
	for _, o := range m.Options {
		if strings.HasPrefix(o, "lowerdir=") {
			o += ":" + escaped.Replace(bottom)
		}
		options = append(options, o)
	}
	m.Options = options
	return m
}
