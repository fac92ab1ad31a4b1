// Package authz decides who may do what: system:masters, then the Node
// authorizer, then RBAC. Decisions are functions of rules and attributes;
// informers only feed the indexes they are made from.
package authz
