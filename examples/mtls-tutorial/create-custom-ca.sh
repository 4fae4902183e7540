#!/bin/sh
# Make a CA of your own, in the current directory, with nothing but openssl:
#
#   root-cert.pem   the trust anchor: what every proxy verifies against
#   root-key.pem    its key: keep it offline, the mesh never needs it
#   ca-cert.pem     an intermediate CA, signed by the root: it signs the workloads' certificates
#   ca-key.pem      its key: the mesh signs with it
#   cert-chain.pem  the way from the intermediate to the root
#
# Usage: ./create-custom-ca.sh [NAME]     an organisation's name; "Example" if there is none
#
# Run again it makes a new intermediate below the same root; delete root-key.pem for a new root.
set -eu
umask 077 # keys are for their owner only

name=${1:-Example}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

new_key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

cat >"$work/extensions" <<END
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[intermediate]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END

# make_request KEY COMMON_NAME FILE: a signing request, without any configuration of the machine.
make_request() {
  printf '[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nO = %s\nCN = %s\n' "$name" "$2" \
    >"$work/request.cnf"
  openssl req -new -key "$1" -config "$work/request.cnf" -out "$3"
}

if [ ! -f root-key.pem ]; then
  new_key root-key.pem
  make_request root-key.pem "$name Root CA" "$work/root.csr"
  openssl x509 -req -in "$work/root.csr" -signkey root-key.pem -days 3650 -sha256 \
    -extfile "$work/extensions" -extensions root -out root-cert.pem 2>/dev/null
fi

new_key "$work/ca-key.pem"
make_request "$work/ca-key.pem" "$name Intermediate CA" "$work/ca.csr"
openssl x509 -req -in "$work/ca.csr" -CA root-cert.pem -CAkey root-key.pem \
  -set_serial "0x$(openssl rand -hex 15)" -days 730 -sha256 \
  -extfile "$work/extensions" -extensions intermediate -out "$work/ca-cert.pem" 2>/dev/null
mv "$work/ca-key.pem" "$work/ca-cert.pem" .
cat ca-cert.pem root-cert.pem >cert-chain.pem

openssl verify -CAfile root-cert.pem ca-cert.pem
chmod 644 root-cert.pem ca-cert.pem cert-chain.pem
echo "wrote root-cert.pem, ca-cert.pem, ca-key.pem, cert-chain.pem (and root-key.pem: keep it offline)"
