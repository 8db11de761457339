/* A library with the functions of cuBLASLt, of which only the version can be asked for: for the tests of finding one. */
#include <stddef.h>

size_t cublasLtGetVersion(void) { return 131002; }

int cublasLtGetStatusName(void) { return 1; }
int cublasLtGetStatusString(void) { return 1; }
int cublasLtCreate(void) { return 1; }
int cublasLtDestroy(void) { return 1; }
int cublasLtMatmulDescCreate(void) { return 1; }
int cublasLtMatmulDescDestroy(void) { return 1; }
int cublasLtMatmulDescSetAttribute(void) { return 1; }
int cublasLtMatrixLayoutCreate(void) { return 1; }
int cublasLtMatrixLayoutDestroy(void) { return 1; }
int cublasLtMatrixLayoutSetAttribute(void) { return 1; }
int cublasLtMatmulPreferenceCreate(void) { return 1; }
int cublasLtMatmulPreferenceDestroy(void) { return 1; }
int cublasLtMatmulPreferenceSetAttribute(void) { return 1; }
int cublasLtMatmulAlgoGetHeuristic(void) { return 1; }
int cublasLtMatmul(void) { return 1; }
