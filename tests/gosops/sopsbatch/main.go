// sopsbatch encrypts and decrypts documents with sops's own Go library, many in one process, for the tests that compare
// thousands of them. A request is a line of JSON and so is its answer:
//
//	{"Do": "encrypt", "Format": "yaml", "Arguments": ["--age", "age1..."], "Data": base64}   also "decrypt"
//	{"Data": base64}   or   {"Error": "..."}
//
// Arguments are those of `sops encrypt`. Identities come from SOPS_AGE_KEY, as for sops itself. A document that makes the
// library panic is answered with an error.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/logging"
	"github.com/getsops/sops/v3/version"
)

type request struct {
	Do, Format string
	Arguments  []string
	Data       []byte
}

type answer struct {
	Data  []byte
	Error string `json:",omitempty"`
}

var services = []keyservice.KeyServiceClient{keyservice.NewLocalClient()}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "sopsbatch:", err)
		os.Exit(1)
	}
}

func serve() error {
	for _, logger := range logging.Loggers {
		logger.SetOutput(io.Discard)
	}
	requests, answers := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var asked request
		switch err := requests.Decode(&asked); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		var given answer
		data, err := work(asked)
		if err != nil {
			given.Error = err.Error()
		} else {
			given.Data = data
		}
		if err := answers.Encode(given); err != nil {
			return err
		}
	}
}

func work(asked request) (data []byte, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	switch asked.Do {
	case "encrypt":
		return encrypt(asked)
	case "decrypt":
		return decrypt(asked)
	}
	return nil, fmt.Errorf("not a request: %q", asked.Do)
}

func store(format string) common.Store {
	return common.StoreForFormat(formats.FormatFromString(format), config.NewStoresConfig())
}

func encrypt(asked request) ([]byte, error) {
	input, output := store(asked.Format), store(asked.Format)
	if asked.Format == "binary" {
		output = store("json")
	}
	metadata, err := metadata(asked.Arguments, input)
	if err != nil {
		return nil, err
	}
	branches, err := input.LoadPlainFile(asked.Data)
	if err != nil {
		return nil, fmt.Errorf("Error unmarshalling file: %s", err)
	}
	if len(branches) < 1 {
		return nil, errors.New("File cannot be completely empty, it must contain at least one document")
	}
	if output.HasSopsTopLevelKey(branches[0]) {
		return nil, errors.New("File already encrypted")
	}
	tree := sops.Tree{Branches: branches, Metadata: metadata}
	key, errs := tree.GenerateDataKeyWithKeyServices(services)
	if len(errs) > 0 {
		return nil, fmt.Errorf("Could not generate data key: %s", errs)
	}
	if err := common.EncryptTree(common.EncryptTreeOpts{Tree: &tree, Cipher: aes.NewCipher(), DataKey: key}); err != nil {
		return nil, err
	}
	return output.EmitEncryptedFile(tree)
}

// What the options of `sops encrypt` make of a document: a store of one value ignores all but the recipients, and a suffix
// is the rule where no other is given.
func metadata(arguments []string, input common.Store) (sops.Metadata, error) {
	var metadata sops.Metadata
	var recipients string
	options := flag.NewFlagSet("encrypt", flag.ContinueOnError)
	options.SetOutput(io.Discard)
	options.StringVar(&recipients, "age", "", "")
	options.StringVar(&metadata.UnencryptedSuffix, "unencrypted-suffix", "", "")
	options.StringVar(&metadata.EncryptedSuffix, "encrypted-suffix", "", "")
	options.StringVar(&metadata.UnencryptedRegex, "unencrypted-regex", "", "")
	options.StringVar(&metadata.EncryptedRegex, "encrypted-regex", "", "")
	options.StringVar(&metadata.UnencryptedCommentRegex, "unencrypted-comment-regex", "", "")
	options.StringVar(&metadata.EncryptedCommentRegex, "encrypted-comment-regex", "", "")
	options.BoolVar(&metadata.MACOnlyEncrypted, "mac-only-encrypted", false, "")
	if err := options.Parse(arguments); err != nil {
		return metadata, err
	}
	rules := metadata.UnencryptedSuffix + metadata.EncryptedSuffix + metadata.UnencryptedRegex + metadata.EncryptedRegex +
		metadata.UnencryptedCommentRegex + metadata.EncryptedCommentRegex
	if single, ok := input.(sops.SingleValueStore); ok && single.IsSingleValueStore() {
		metadata = sops.Metadata{}
	} else if rules == "" {
		metadata.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	wrapped, err := age.MasterKeysFromRecipients(recipients)
	if err != nil {
		return metadata, err
	}
	var group sops.KeyGroup
	for _, key := range wrapped {
		group = append(group, key)
	}
	metadata.KeyGroups = []sops.KeyGroup{group}
	metadata.Version = version.Version
	return metadata, nil
}

func decrypt(asked request) ([]byte, error) {
	input := store(asked.Format)
	tree, err := input.LoadEncryptedFile(asked.Data)
	if err != nil {
		return nil, err
	}
	_, err = common.DecryptTree(common.DecryptTreeOpts{
		Tree: &tree, KeyServices: services, DecryptionOrder: sops.DefaultDecryptionOrder, Cipher: aes.NewCipher(),
	})
	if err != nil {
		return nil, err
	}
	return input.EmitPlainFile(tree.Branches)
}
