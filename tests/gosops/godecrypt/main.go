// godecrypt opens documents with sops's own Go library, for `make bench`: it answers requests as tests/bench/src/worker.rs
// describes them. Without an argument a document is opened by decrypt.Data, the library's stable entrance, which reads
// the identity from the environment each time. With the argument "prepared" the identity is parsed once and handed to
// the library's inner parts, as long-running programs built on it do.
package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/decrypt"
)

type open func(sealed []byte, format string) ([]byte, error)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "godecrypt:", err)
		os.Exit(1)
	}
}

func serve() error {
	var decrypt open = decrypt.Data
	if len(os.Args) > 1 && os.Args[1] == "prepared" {
		var identities age.ParsedIdentities
		if err := identities.Import(os.Getenv(age.SopsAgeKeyEnv)); err != nil {
			return err
		}
		decrypt = prepared(identities)
	}
	documents := map[string][]byte{}
	requests := bufio.NewScanner(os.Stdin)
	for requests.Scan() {
		answer, err := answer(requests.Text(), documents, decrypt)
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
	return requests.Err()
}

func answer(request string, documents map[string][]byte, decrypt open) (string, error) {
	if request == "peak" {
		return peak()
	}
	var count int
	var format, path string
	if _, err := fmt.Sscanf(request, "run %d %s %s", &count, &format, &path); err != nil {
		return "", fmt.Errorf("not a request: %q", request)
	}
	if documents[path] == nil {
		sealed, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		documents[path] = sealed
	}
	var plain []byte
	before, start := processor(), time.Now()
	for range count {
		var err error
		if plain, err = decrypt(documents[path], format); err != nil {
			return "", err
		}
	}
	wall, cpu := time.Since(start), processor()-before
	return fmt.Sprintf("%d %d %x", wall.Nanoseconds(), cpu, sha256.Sum256(plain)), nil
}

// What decrypt.DataWithFormat does, but for where the data key comes from.
func prepared(identities age.ParsedIdentities) open {
	return func(sealed []byte, format string) ([]byte, error) {
		store := common.StoreForFormat(formats.FormatFromString(format), config.NewStoresConfig())
		tree, err := store.LoadEncryptedFile(sealed)
		if err != nil {
			return nil, err
		}
		wrapped, ok := tree.Metadata.KeyGroups[0][0].(*age.MasterKey)
		if !ok {
			return nil, errors.New("the first recipient is not an age one")
		}
		identities.ApplyToMasterKey(wrapped)
		key, err := wrapped.Decrypt()
		if err != nil {
			return nil, err
		}
		cipher := aes.NewCipher()
		mac, err := tree.Decrypt(key, cipher)
		if err != nil {
			return nil, err
		}
		modified := tree.Metadata.LastModified.Format(time.RFC3339)
		stored, err := cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, key, modified)
		if err != nil {
			return nil, err
		}
		if stored != mac {
			return nil, errors.New("the MAC is wrong")
		}
		return store.EmitPlainFile(tree.Branches)
	}
}

// User and system time of this process in nanoseconds.
func processor() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// The most memory this process ever held, in KiB.
func peak() (string, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), nil
		}
	}
	return "", errors.New("the kernel tells no VmHWM")
}
