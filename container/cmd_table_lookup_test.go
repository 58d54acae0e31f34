package container_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var lookups = map[string]deed{
	"a name that is not there": func(t *testing.T, k kit) any { return said(k.command(t.Context(), "nope").Run()) },
	"a path":                   func(t *testing.T, k kit) any { return cdOutput(t, k, k.at("opt/tool"), "") },
	"a path that is not there": func(t *testing.T, k kit) any {
		return errors.Is(k.command(t.Context(), "/nope/nope").Run(), fs.ErrNotExist)
	},
	"a path below a file": func(t *testing.T, k kit) any { return said(k.command(t.Context(), k.at("opt/data/x")).Run()) },
	"a directory":         func(t *testing.T, k kit) any { return said(k.command(t.Context(), k.at("opt/dir")).Run()) },
	"not executable":      func(t *testing.T, k kit) any { return said(k.command(t.Context(), k.at("opt/data")).Run()) },
	"not a program":       func(t *testing.T, k kit) any { return said(k.command(t.Context(), k.at("opt/text")).Run()) },
	"without its interpreter": func(t *testing.T, k kit) any {
		return errors.Is(k.command(t.Context(), k.at("opt/noshell")).Run(), fs.ErrNotExist)
	},
	"a path relative to Dir": func(t *testing.T, k kit) any { return cdOutput(t, k, "./tool", "opt") },
	"a path up from Dir":     func(t *testing.T, k kit) any { return cdOutput(t, k, "../tool", "opt/dir") },
	"a path that Dir has not": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "./nope")
		*c.Dir = k.at("opt")
		return errors.Is(c.Run(), fs.ErrNotExist)
	},
	"Args empty": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), k.at("opt/tool"))
		*c.Args = nil
		out, err := c.Output()
		return all{len(out) > 0, said(err)}
	},
	"PATH in Env": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "echo", "hello")
		*c.Env = []string{"PATH=/nope"}
		out, err := c.Output()
		return all{string(out), said(err)}
	},
	"String": func(t *testing.T, k kit) any { return k.command(t.Context(), "/bin/x", "a b", "c").String() },
}

// cdOutput runs a path in a directory.
func cdOutput(t *testing.T, k kit, name, dir string) any {
	c := k.command(t.Context(), name)
	if dir != "" {
		*c.Dir = k.at(dir)
	}
	out, err := c.Output()
	s := strings.TrimPrefix(strings.TrimSpace(string(out)), "tool in ")
	if dir != "" {
		s, _ = filepath.Rel(k.at(""), s)
	} else {
		s = ""
	}
	return all{s, said(err)}
}

var environs = map[string]deed{
	"Env": func(t *testing.T, k kit) any {
		return env(t, k, []string{"A=1", "B=two words", "A=3", "C=", "D=x=y"})
	},
	"Env empty": func(t *testing.T, k kit) any { return env(t, k, []string{}) },
	"Env with a zero byte": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "env")
		*c.Env = []string{"A=\x00"}
		return said(c.Run())
	},
	"Environ": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "env")
		*c.Env = []string{"A=1", "B=2", "A=3", "B=\x00"}
		*c.Dir = k.at("opt")
		return c.Environ()
	},
	"Environ and what it becomes": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "env")
		*c.Dir = k.at("opt")
		*c.Env = append(c.Environ(), "MORE=yes")
		want := slices.DeleteFunc(slices.Clone(*c.Env), notCompared)
		out, err := c.Output()
		got := slices.DeleteFunc(strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), notCompared)
		slices.Sort(want)
		slices.Sort(got)
		return all{slices.Equal(want, got), slices.Contains(got, "PWD="+k.at("opt")), said(err)}
	},
	"Dir":           func(t *testing.T, k kit) any { return pwd(t, k, "opt/dir") },
	"Dir not clean": func(t *testing.T, k kit) any { return pwd(t, k, "opt/../opt/./dir/") },
	"Dir that is not there": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "pwd")
		*c.Dir = k.at("nope")
		return errors.Is(c.Run(), fs.ErrNotExist)
	},
	"Dir that is a file": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "pwd")
		*c.Dir = k.at("opt/data")
		return said(c.Run())
	},
}

// notCompared are variables that a shell or a runtime has in any case.
func notCompared(e string) bool {
	name, _, _ := strings.Cut(e, "=")
	return name == "HOME" || name == "SHLVL" || name == "_"
}

func env(t *testing.T, k kit, vars []string) any {
	c := k.command(t.Context(), "env")
	*c.Env = vars
	out, err := c.Output()
	got := slices.DeleteFunc(strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), notCompared)
	got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
	slices.Sort(got)
	return all{got, said(err)}
}

func pwd(t *testing.T, k kit, dir string) any {
	c := k.command(t.Context(), "sh", "-c", "/bin/busybox pwd -P; echo $PWD")
	*c.Dir = k.at("") + "/" + dir
	out, err := c.Output()
	return all{strings.ReplaceAll(string(out), strings.TrimSuffix(k.at(""), "/"), ""), said(err)}
}
