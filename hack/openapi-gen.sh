#!/usr/bin/env bash
# Generates apis/openapi from the k8s.io/api types. Run through `make generate`.
set -euo pipefail
cd "$(dirname "$0")/.."
generate() { # generate FOLDER PACKAGE...
  local folder=$1
  shift
  go tool openapi-gen \
    --output-dir "$folder" --output-pkg "proa/$folder" --output-file zz_generated.openapi.go \
    --output-model-name-file "" --go-header-file hack/boilerplate.go.txt --report-filename /dev/null "$@"
}
generate apis/openapi \
  k8s.io/api/admissionregistration/v1 k8s.io/api/apps/v1 k8s.io/api/authentication/v1 k8s.io/api/authorization/v1 \
  k8s.io/api/autoscaling/v1 k8s.io/api/autoscaling/v2 k8s.io/api/batch/v1 k8s.io/api/certificates/v1 \
  k8s.io/api/coordination/v1 k8s.io/api/core/v1 k8s.io/api/discovery/v1 k8s.io/api/events/v1 k8s.io/api/flowcontrol/v1 \
  k8s.io/api/networking/v1 k8s.io/api/node/v1 k8s.io/api/policy/v1 k8s.io/api/rbac/v1 k8s.io/api/resource/v1 \
  k8s.io/api/scheduling/v1 k8s.io/api/scheduling/v1alpha3 k8s.io/api/storage/v1 \
  k8s.io/apimachinery/pkg/apis/meta/v1 k8s.io/apimachinery/pkg/runtime k8s.io/apimachinery/pkg/version \
  k8s.io/apimachinery/pkg/util/intstr k8s.io/apimachinery/pkg/api/resource
# Versions that are off by default.
generate apis/openapi/preview \
  k8s.io/api/admissionregistration/v1alpha1 k8s.io/api/admissionregistration/v1beta1 k8s.io/api/networking/v1beta1 \
  k8s.io/api/resource/v1beta2 k8s.io/api/storage/v1beta1
