package main

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/image"
)

func states() []image.Progress {
	a, b := digest.FromString("a"), digest.FromString("b")
	return []image.Progress{
		{Layer: a, Phase: image.Waiting, Total: 2000},
		{Layer: b, Phase: image.Waiting, Total: 10},
		{Layer: a, Phase: image.Fetching, Bytes: 500, Total: 2000},
		{Layer: a, Phase: image.Fetching, Bytes: 1000, Total: 2000},
		{Layer: b, Phase: image.Exists, Bytes: 10, Total: 10},
		{Layer: a, Phase: image.Fetched, Bytes: 2000, Total: 2000},
		{Layer: a, Phase: image.Extracting, Bytes: 2000, Total: 2000},
		{Layer: a, Phase: image.Complete, Bytes: 2000, Total: 2000},
	}
}

func TestProgressInFile(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	for _, s := range states() {
		p.show(s)
	}
	require.Equal(t, `ca978112ca1b: Pulling fs layer
3e23e8160039: Pulling fs layer
ca978112ca1b: Downloading
3e23e8160039: Already exists
ca978112ca1b: Download complete
ca978112ca1b: Extracting
ca978112ca1b: Pull complete
`, out.String())
}

func TestProgressOnTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.terminal = true
	for _, s := range states()[:5] {
		p.show(s)
	}
	const a, b = "\x1b[2A\r\x1b[2Kca978112ca1b: ", "\r\x1b[2B"
	require.Equal(t, "ca978112ca1b: Pulling fs layer\n3e23e8160039: Pulling fs layer\n"+
		a+"Downloading [=======>                      ]      500B/2.0kB"+b+
		a+"Downloading [===============>              ]     1.0kB/2.0kB"+b+
		"\x1b[1A\r\x1b[2K3e23e8160039: Already exists\r\x1b[1B", out.String())
}

func TestBar(t *testing.T) {
	require.Equal(t, "[>                             ]        0B/0B", bar(0, 0))
	require.Equal(t, "[==============================]     3.4MB/3.4MB", bar(3_400_000, 3_400_000))
	require.Equal(t, "[==============================]    2.00GB/1B", bar(2_000_000_000, 1), "what a stranger says may be wrong")
}

func TestParseName(t *testing.T) {
	d := digest.FromString("").String()
	for ref, want := range map[string]name{
		"alpine":                             {"alpine:latest", "library/alpine", "latest"},
		"docker.io/library/alpine:3.22":      {"alpine:3.22", "library/alpine", "3.22"},
		"quay.io/prometheus/node:v1":         {"quay.io/prometheus/node:v1", "prometheus/node", "v1"},
		"alpine@" + d:                        {"alpine@" + d, "library/alpine", d},
		"localhost:5000/a/b:c":               {"localhost:5000/a/b:c", "a/b", "c"},
		"docker.io/library/alpine:3.22@" + d: {"alpine@" + d, "library/alpine", d},
	} {
		got, err := parseName(ref)
		require.NoError(t, err)
		require.Equal(t, want, got, ref)
	}
}

func TestGreetingELF(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		b, err := greetingELF(arch, "hello\n")
		require.NoError(t, err)
		f, err := elf.NewFile(bytes.NewReader(b))
		require.NoError(t, err, arch)
		require.Equal(t, machine, f.Machine)
		require.Equal(t, elf.ET_EXEC, f.Type)
		require.Len(t, f.Progs, 1)
		require.EqualValues(t, len(b), f.Progs[0].Filesz)
		require.Equal(t, uint64(base+120), f.Entry)
		require.True(t, bytes.HasSuffix(b, []byte("hello\n")))
		require.Less(t, len(b), 200)
	}
	_, err := greetingELF("riscv64", "")
	require.ErrorContains(t, err, "riscv64")
}
