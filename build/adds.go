package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/gitutil"

	ctor "github.com/ctorhq/ctor"
)

// adds are what a Dockerfile and its base images add. BuildKit asks an ssh server for
// its key while it converts an ADD, by the host's network and before any source is
// asked for. So an ADD that could name an ssh server is refused before it is converted.
type adds struct {
	own func(remote string) bool // whether the program itself has named a repository

	mu      sync.Mutex
	lex     *shell.Lex
	values  map[string][]string // all that a variable may be; "" is a name that a variable gives
	sources []added
}

// added is one source of an ADD. That of a base image's ONBUILD has no location.
type added struct {
	word string
	at   []parser.Range
}

// readAdds refuses what a Dockerfile itself shows.
func readAdds(dockerfile []byte, args map[string]string, own func(string) bool) (*adds, error) {
	parsed, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return nil, err
	}
	a := &adds{own: own, lex: shell.NewLex(parsed.EscapeToken), values: map[string][]string{}}
	for name, value := range args {
		a.assign(name, value)
	}
	for _, n := range parsed.AST.Children {
		a.read(n, n.Location())
	}
	return a, a.check()
}

// image refuses what a base image's variables and triggers add to that.
func (a *adds) image(ref string, config []byte) error {
	var i struct {
		Config struct{ Env, OnBuild []string }
	}
	if err := json.Unmarshal(config, &i); err != nil {
		return fmt.Errorf("configuration of %s: %w", ref, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range i.Config.Env {
		name, value, _ := strings.Cut(v, "=")
		a.assign(name, value)
	}
	for _, t := range i.Config.OnBuild {
		a.trigger(t, nil)
	}
	return a.check()
}

func (a *adds) trigger(line string, at []parser.Range) {
	parsed, err := parser.Parse(strings.NewReader(line))
	if err != nil {
		return // the conversion says so
	}
	for _, n := range parsed.AST.Children {
		a.read(n, at)
	}
}

func (a *adds) read(n *parser.Node, at []parser.Range) {
	i, err := instructions.ParseInstruction(n)
	if err != nil {
		return // the conversion says so
	}
	switch i := i.(type) {
	case *instructions.AddCommand:
		for _, word := range i.SourcePaths {
			a.sources = append(a.sources, added{word, at})
		}
	case *instructions.EnvCommand:
		for _, kv := range i.Env {
			a.assign(kv.Key, kv.Value)
		}
	case *instructions.ArgCommand:
		for _, kv := range i.Args {
			if kv.Value != nil {
				a.assign(kv.Key, *kv.Value)
			}
		}
	case *instructions.OnbuildCommand:
		a.trigger(i.Expression, at)
	}
}

var plainName = regexp.MustCompile(`^\w+$`)

func (a *adds) assign(name, value string) {
	if !plainName.MatchString(name) {
		name = ""
	}
	a.values[name] = append(a.values[name], value)
}

func (a *adds) check() error {
	for _, s := range a.sources {
		if !a.mayBeSSH(s.word) {
			continue
		}
		err := fmt.Errorf("ADD %s: an ssh server is reached by the host's network, and this source is one or has variables that could make it one: set Options.Network to container.Host() to allow that (%w)", s.word, ctor.ErrInvalid)
		if s.at != nil {
			err = parser.WithLocation(err, s.at)
		}
		return err
	}
	return nil
}

func (a *adds) mayBeSSH(word string) bool {
	if strings.Contains(word, "$") {
		return !a.harmless(word, map[string]bool{})
	}
	text, _, err := a.lex.ProcessWord(word, shell.EnvsFromSlice(nil))
	if err != nil {
		return false // the conversion says so
	}
	u, err := gitutil.ParseURL(text)
	return err == nil && u.Scheme == gitutil.SSHProtocol && !a.own(u.Remote)
}

var (
	otherScheme = regexp.MustCompile(`(?i)^(https?|git)://`)
	plainHead   = regexp.MustCompile("^(?:[^:@$\\\\\"'`{}]|\\$\\w+|\\$\\{\\w+\\})*$")
	variable    = regexp.MustCompile(`\$\{?(\w+)`)
)

// harmless tells whether no text that has this word in it is an ssh URL because of the
// word. Both forms, ssh://host and user@host:path, have no slash before their first
// colon. So it is enough that what precedes the word's first slash has neither a colon
// nor an at sign, in whatever its variables may be, unless it is another scheme. What
// a shell's operators make of a variable is not followed.
func (a *adds) harmless(word string, seen map[string]bool) bool {
	word = strings.Trim(word, `"'`)
	if otherScheme.MatchString(word) {
		return true
	}
	head, _, _ := strings.Cut(word, "/")
	if !plainHead.MatchString(head) {
		return false
	}
	for _, m := range variable.FindAllStringSubmatch(head, -1) {
		for _, name := range []string{m[1], ""} {
			if seen[name] {
				continue
			}
			seen[name] = true
			for _, v := range a.values[name] {
				if !a.harmless(v, seen) {
					return false
				}
			}
		}
	}
	return true
}
