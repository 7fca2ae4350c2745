package main

// Flux's manifests, read by Flux's own types: a field that they do not have is an error.

import (
	"fmt"

	kustomize "github.com/fluxcd/kustomize-controller/api/v1"
	"sigs.k8s.io/yaml"
)

func checkFlux(manifest []byte) error {
	var of struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(manifest, &of); err != nil {
		return err
	}
	if of.APIVersion != kustomize.GroupVersion.String() || of.Kind != kustomize.KustomizationKind {
		return fmt.Errorf("%s %s is no Kustomization of Flux's", of.APIVersion, of.Kind)
	}
	return yaml.UnmarshalStrict(manifest, &kustomize.Kustomization{})
}
