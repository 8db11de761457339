#include "actors/tls_identity.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <memory>

#include "runtime/base/check.h"

namespace troupe {
namespace {

constexpr long kX509Version3 = 2;  // they count from 0

template <class Write>
std::string pem_of(Write&& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
  CHECK(memory != nullptr && write(memory.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<size_t>(size)};
}

}  // namespace

TlsIdentity make_tls_identity(long from_s, long until_s) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> made(X509_new(), X509_free);
  X509* const certificate = made.get();
  CHECK(key != nullptr && certificate != nullptr);
  uint64_t serial = 0;
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) == 1);
  X509_NAME* const name = X509_get_subject_name(certificate);
  const auto* const text = reinterpret_cast<const unsigned char*>("a run of Troupe");
  const bool filled = X509_set_version(certificate, kX509Version3) == 1 &&
                      ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) == 1 &&
                      X509_gmtime_adj(X509_getm_notBefore(certificate), from_s) != nullptr &&
                      X509_gmtime_adj(X509_getm_notAfter(certificate), until_s) != nullptr &&
                      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0) == 1 &&
                      X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key.get()) == 1 &&
                      X509_sign(certificate, key.get(), EVP_sha256()) != 0;
  CHECK(filled);
  return {
      pem_of([&](BIO* to) { return PEM_write_bio_X509(to, certificate); }),
      pem_of([&](BIO* to) { return PEM_write_bio_PrivateKey(to, key.get(), nullptr, nullptr, 0, nullptr, nullptr); }),
  };
}

}  // namespace troupe
