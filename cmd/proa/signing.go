package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"

	"proa/controllers/control"
)

// signingFlags are kube-controller-manager's flags about the CAs that sign
// certificate requests: one for all signers, or one for each.
type signingFlags struct {
	all      control.CA
	each     map[string]*control.CA
	duration time.Duration
}

// signerFlags are the signers by their flags' names.
func signerFlags() map[string]string {
	return map[string]string{
		"kubelet-serving":       certificatesv1.KubeletServingSignerName,
		"kubelet-client":        certificatesv1.KubeAPIServerClientKubeletSignerName,
		"kube-apiserver-client": certificatesv1.KubeAPIServerClientSignerName,
		"legacy-unknown":        certificatesv1beta1.LegacyUnknownSignerName,
	}
}

// allSigners sign with one CA.
func allSigners(ca control.CA) map[string]control.CA {
	out := map[string]control.CA{}
	for _, signer := range signerFlags() {
		out[signer] = ca
	}
	return out
}

func (s *signingFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&s.all.CertFile, "cluster-signing-cert-file", "", "certificate of the CA that signs all requests")
	f.StringVar(&s.all.KeyFile, "cluster-signing-key-file", "", "key of the CA that signs all requests")
	f.DurationVar(&s.duration, "cluster-signing-duration", 365*24*time.Hour, "longest life of signed certificates")
	s.each = map[string]*control.CA{}
	for flag, signer := range signerFlags() {
		ca := &control.CA{}
		s.each[flag] = ca
		f.StringVar(&ca.CertFile, "cluster-signing-"+flag+"-cert-file", "", "certificate of the CA that signs requests for "+signer)
		f.StringVar(&ca.KeyFile, "cluster-signing-"+flag+"-key-file", "", "key of the CA that signs requests for "+signer)
	}
}

// signers are the CAs by signer name.
func (s *signingFlags) signers() (map[string]control.CA, error) {
	half := func(flag string, ca control.CA) error {
		if (ca.CertFile == "") != (ca.KeyFile == "") {
			return fmt.Errorf("--cluster-signing-%scert-file and --cluster-signing-%skey-file go together", flag, flag)
		}
		return nil
	}
	if err := half("", s.all); err != nil {
		return nil, err
	}
	out := map[string]control.CA{}
	for flag, signer := range signerFlags() {
		ca := *s.each[flag]
		if err := half(flag+"-", ca); err != nil {
			return nil, err
		}
		if ca.CertFile != "" {
			out[signer] = ca
		}
	}
	switch {
	case s.all.CertFile == "":
		return out, nil
	case len(out) > 0:
		return nil, errors.New("cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags at the same time")
	}
	return allSigners(s.all), nil
}
