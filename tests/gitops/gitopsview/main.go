// Says what Flux and Argo CD make of Kubernetes objects, and whether a manifest is one of Flux's.
//
//	gitopsview health   one JSON object on standard input:
//	    overrides  health scripts in Lua, by the keys they have in Argo CD's ConfigMap argocd-cm
//	    objects    Kubernetes objects, as the API server returned them
//	  Standard output has one JSON line an object: "flux" is its status by kstatus, the library behind Flux's health
//	  checks and `wait`, "argo" its health as Argo CD finds it.
//
//	gitopsview flux     a Kustomization of Flux's as YAML on standard input; fails where Flux does not know a field
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type input struct {
	Overrides map[string]string
	Objects   []json.RawMessage
}

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gitopsview:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	switch {
	case len(os.Args) == 2 && os.Args[1] == "health":
		return tellHealth(text, os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == "flux":
		return checkFlux(text)
	default:
		return errors.New("one argument: health or flux")
	}
}

func tellHealth(text []byte, to io.Writer) error {
	var asked input
	if err := json.Unmarshal(text, &asked); err != nil {
		return err
	}
	out := json.NewEncoder(to)
	for _, raw := range asked.Objects {
		// Whole numbers stay such, as in a client of the API server.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		result, err := kstatus.Compute(object)
		if err != nil {
			return fmt.Errorf("kstatus of %s: %w", object.GetName(), err)
		}
		health, err := argoHealth(object, asked.Overrides)
		if err != nil {
			return fmt.Errorf("health of %s: %w", object.GetName(), err)
		}
		said := map[string]verdict{"flux": {string(result.Status), result.Message}, "argo": health}
		if err := out.Encode(said); err != nil {
			return err
		}
	}
	return nil
}
