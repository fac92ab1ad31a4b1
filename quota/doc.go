// Package quota says what objects use of ResourceQuotas, and which quotas they
// concern. It is pure arithmetic over k8s.io types, and belongs to nobody:
// admission (apis/admission) charges new objects by it, the ResourceQuota
// controller (controllers/core) counts what there is.
package quota
