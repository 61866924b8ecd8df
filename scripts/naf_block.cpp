// A NAFBlock and its way back, for AVX-512 and one thread: what train_fused.py calls.
//
// Pictures are channels-last float32, (pixels, channels), the channels a multiple of 16. The affine part of the layer
// norms and the factors of the residuals are folded into the matrices and biases by the caller. Gradients of matrices
// come transposed, (inputs, outputs), and like those of biases are added to what the caller has put there.
// Between memory and arithmetic a tile of pixels goes through all of a step, so that it stays in the cache.

#include <immintrin.h>

#include <cmath>
#include <vector>

using Lanes = __m512;
constexpr long kLanes = 16, kTile = 64;

static inline Lanes load(const float* at) { return _mm512_loadu_ps(at); }
static inline void store(float* at, Lanes value) { _mm512_storeu_ps(at, value); }
static inline Lanes all(float value) { return _mm512_set1_ps(value); }

using Buffer = std::vector<float>;

// ---- products -----------------------------------------------------------------------------------------------------

// Entry (m, k) of a left factor stands at data[m * row + k * column].
struct Left {
    const float* data;
    long row, column;
};

// kRows x (kVectors * 16) entries of: out = left x right + bias, or out += left x right. All sums stay in registers.
template <int kRows, int kVectors>
static inline __attribute__((always_inline)) void block(long inner, Left left, const float* right, float* out,
                                                        long stride, bool add, const float* bias) {
    Lanes sum[kRows][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 2
        for (int n = 0; n < kVectors; n++)
            sum[m][n] = add    ? load(out + m * stride + n * kLanes)
                        : bias ? load(bias + n * kLanes)
                               : _mm512_setzero_ps();
    for (long k = 0; k < inner; k++) {
        Lanes row[kVectors];
#pragma GCC unroll 2
        for (int n = 0; n < kVectors; n++) row[n] = load(right + k * stride + n * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < kRows; m++) {
            Lanes factor = all(left.data[m * left.row + k * left.column]);
#pragma GCC unroll 2
            for (int n = 0; n < kVectors; n++) sum[m][n] = _mm512_fmadd_ps(factor, row[n], sum[m][n]);
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 2
        for (int n = 0; n < kVectors; n++) store(out + m * stride + n * kLanes, sum[m][n]);
}

template <int kRows, int kVectors>
static void column(long rows, long inner, Left left, const float* right, float* out, long stride, bool add,
                   const float* bias) {
    long m = 0;
    for (; m + kRows <= rows; m += kRows)
        block<kRows, kVectors>(inner, {left.data + m * left.row, left.row, left.column}, right, out + m * stride,
                               stride, add, bias);
    for (; m < rows; m++)
        block<1, kVectors>(inner, {left.data + m * left.row, left.row, left.column}, right, out + m * stride, stride,
                           add, bias);
}

// (rows, inner) x (inner, columns) -> (rows, columns), with or without bias, or added to what is there.
static void product(long rows, long columns, long inner, Left left, const float* right, float* out, bool add = false,
                    const float* bias = nullptr) {
    long n = 0;
    for (; n + 2 * kLanes <= columns; n += 2 * kLanes)
        column<8, 2>(rows, inner, left, right + n, out + n, columns, add, bias ? bias + n : nullptr);
    if (n < columns) column<16, 1>(rows, inner, left, right + n, out + n, columns, add, bias ? bias + n : nullptr);
}

static Left plain(const float* data, long columns) { return {data, columns, 1}; }
static Left turned(const float* data, long rows) { return {data, 1, rows}; }

static Buffer transposed(long rows, long columns, const float* matrix) {
    Buffer result(rows * columns);
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++) result[c * rows + r] = matrix[r * columns + c];
    return result;
}

static void add_rows(long pixels, long channels, const float* rows, float* sums) {
    for (long c = 0; c < channels; c += kLanes) {
        Lanes sum = load(sums + c);
        for (long p = 0; p < pixels; p++) sum = _mm512_add_ps(sum, load(rows + p * channels + c));
        store(sums + c, sum);
    }
}

static void add_to(long count, const float* x, float* y) {
    for (long i = 0; i < count; i += kLanes) store(y + i, _mm512_add_ps(load(y + i), load(x + i)));
}

// ---- layer norm ---------------------------------------------------------------------------------------------------

// normal = (x - mean) * scale, scale = 1 / sqrt(variance + 1e-6), over the channels of each pixel.
static void norm(long pixels, long channels, const float* x, float* normal, float* scales) {
    for (long p = 0; p < pixels; p++, x += channels, normal += channels) {
        Lanes sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
        for (long c = 0; c < channels; c += kLanes) sum = _mm512_add_ps(sum, load(x + c));
        Lanes mean = all(_mm512_reduce_add_ps(sum) / channels);
        for (long c = 0; c < channels; c += kLanes) {
            Lanes offset = _mm512_sub_ps(load(x + c), mean);
            squares = _mm512_fmadd_ps(offset, offset, squares);
        }
        scales[p] = 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / channels + 1e-6f);
        for (long c = 0; c < channels; c += kLanes)
            store(normal + c, _mm512_mul_ps(_mm512_sub_ps(load(x + c), mean), all(scales[p])));
    }
}

// dx = past + scale * (d - mean(d) - normal * mean(d * normal)), where `past` is what goes around the norm.
static void norm_back(long pixels, long channels, const float* d, const float* normal, const float* scales,
                      const float* past, float* dx) {
    for (long p = 0; p < pixels; p++, d += channels, normal += channels, past += channels, dx += channels) {
        Lanes sum = _mm512_setzero_ps(), products = _mm512_setzero_ps();
        for (long c = 0; c < channels; c += kLanes) {
            sum = _mm512_add_ps(sum, load(d + c));
            products = _mm512_fmadd_ps(load(d + c), load(normal + c), products);
        }
        Lanes mean = all(_mm512_reduce_add_ps(sum) / channels), slope = all(_mm512_reduce_add_ps(products) / channels);
        for (long c = 0; c < channels; c += kLanes) {
            Lanes rest = _mm512_fnmadd_ps(load(normal + c), slope, _mm512_sub_ps(load(d + c), mean));
            store(dx + c, _mm512_fmadd_ps(rest, all(scales[p]), load(past + c)));
        }
    }
}

static long tile(long pixels, long first) { return pixels - first < kTile ? pixels - first : kTile; }

// ---- depth-wise 3 x 3 ---------------------------------------------------------------------------------------------

// Three rows of a picture around row r; a row of zeros stands for those outside.
struct Rows {
    const float* at[3];
    Rows(const float* picture, long height, long length, long r, const Buffer& zeros) {
        for (long i = 0; i < 3; i++) {
            long row = r + i - 1;
            at[i] = row < 0 || row >= height ? zeros.data() : picture + row * length;
        }
    }
};

struct Kernel {  // of 16 channels
    Lanes tap[9];
    Kernel(const float* taps, long channels) {
#pragma GCC unroll 9
        for (int k = 0; k < 9; k++) tap[k] = load(taps + k * channels);
    }
};

// Calls use(tap, value) for each of the nine values around column i that lie inside the row.
template <class Use>
static inline __attribute__((always_inline)) void around(const Rows& rows, long i, long width, long channels, long c,
                                                         Use use) {
#pragma GCC unroll 3
    for (int r = 0; r < 3; r++) {
        const float* here = rows.at[r] + i * channels + c;
        if (i > 0) use(3 * r, load(here - channels));
        use(3 * r + 1, load(here));
        if (i < width - 1) use(3 * r + 2, load(here + channels));
    }
}

static inline __attribute__((always_inline)) Lanes convolved(const Rows& rows, long i, long width, long channels,
                                                             long c, const Kernel& kernel, Lanes sum) {
    around(rows, i, width, channels, c,
           [&](int k, Lanes value) { sum = _mm512_fmadd_ps(kernel.tap[k], value, sum); });
    return sum;
}

// ---- the steps of the block ---------------------------------------------------------------------------------------

extern "C" {

// wide = matrix norm(x) + bias: (pixels, C) -> (pixels, 2C).
void widen(long pixels, long channels, const float* x, const float* matrix, const float* bias, float* wide) {
    Buffer right = transposed(2 * channels, channels, matrix), normal(kTile * channels), scales(kTile);
    for (long p = 0; p < pixels; p += kTile) {
        long count = tile(pixels, p);
        norm(count, channels, x + p * channels, normal.data(), scales.data());
        product(count, 2 * channels, channels, plain(normal.data(), channels), right.data(), wide + p * 2 * channels,
                false, bias);
    }
}

void widen_back(long pixels, long channels, const float* x, const float* matrix, const float* dwide,
                const float* past, float* dx, float* dmatrix, float* dbias) {
    Buffer normal(kTile * channels), scales(kTile), dnormal(kTile * channels);
    for (long p = 0; p < pixels; p += kTile) {
        long count = tile(pixels, p);
        const float* d = dwide + p * 2 * channels;
        norm(count, channels, x + p * channels, normal.data(), scales.data());
        product(count, channels, 2 * channels, plain(d, 2 * channels), matrix, dnormal.data());
        product(channels, 2 * channels, count, turned(normal.data(), channels), d, dmatrix, true);
        add_rows(count, 2 * channels, d, dbias);
        norm_back(count, channels, dnormal.data(), normal.data(), scales.data(), past + p * channels,
                  dx + p * channels);
    }
}

// One picture: depth-wise 3 x 3 with `taps` (9, 2C), then the first half of the channels times the second half.
// y: (pixels, C); sums: (C), grows by the sum over the pixels.
void gated(long height, long width, long channels, const float* wide, const float* taps, const float* bias, float* y,
           float* sums) {
    long both = 2 * channels;
    Buffer zeros(width * both);
    for (long r = 0; r < height; r++) {
        Rows rows(wide, height, width * both, r, zeros);
        for (long c = 0; c < channels; c += kLanes) {
            Kernel one(taps + c, both), other(taps + channels + c, both);
            Lanes sum = load(sums + c);
            for (long i = 0; i < width; i++) {
                Lanes a = convolved(rows, i, width, both, c, one, load(bias + c));
                Lanes b = convolved(rows, i, width, both, channels + c, other, load(bias + channels + c));
                Lanes product = _mm512_mul_ps(a, b);
                sum = _mm512_add_ps(sum, product);
                store(y + (r * width + i) * channels + c, product);
            }
            store(sums + c, sum);
        }
    }
}

// `dsum` (C) is the gradient of the sums; dconv (pixels, 2C) is room for the gradient between gate and convolution.
void gated_back(long height, long width, long channels, const float* wide, const float* taps, const float* bias,
                const float* dy, const float* dsum, float* dconv, float* dwide, float* dtaps, float* dbias) {
    long both = 2 * channels;
    Buffer zeros(width * both);
    for (long r = 0; r < height; r++) {
        Rows rows(wide, height, width * both, r, zeros);
        for (long c = 0; c < channels; c += kLanes) {
            Kernel one(taps + c, both), other(taps + channels + c, both);
            for (long i = 0; i < width; i++) {
                Lanes a = convolved(rows, i, width, both, c, one, load(bias + c));
                Lanes b = convolved(rows, i, width, both, channels + c, other, load(bias + channels + c));
                Lanes d = _mm512_add_ps(load(dy + (r * width + i) * channels + c), load(dsum + c));
                store(dconv + (r * width + i) * both + c, _mm512_mul_ps(d, b));
                store(dconv + (r * width + i) * both + channels + c, _mm512_mul_ps(d, a));
            }
        }
        for (long c = 0; c < both; c += kLanes) {
            Kernel gradient(dtaps + c, both);
            Lanes sum = load(dbias + c);
            for (long i = 0; i < width; i++) {
                Lanes d = load(dconv + (r * width + i) * both + c);
                sum = _mm512_add_ps(sum, d);
                around(rows, i, width, both, c, [&](int k, Lanes value) {
                    gradient.tap[k] = _mm512_fmadd_ps(d, value, gradient.tap[k]);
                });
            }
#pragma GCC unroll 9
            for (int k = 0; k < 9; k++) store(dtaps + k * both + c, gradient.tap[k]);
            store(dbias + c, sum);
        }
    }
    Buffer mirrored(9 * both);
    for (long k = 0; k < 9; k++)
        for (long c = 0; c < both; c++) mirrored[k * both + c] = taps[(8 - k) * both + c];
    for (long r = 0; r < height; r++) {
        Rows rows(dconv, height, width * both, r, zeros);
        for (long c = 0; c < both; c += kLanes) {
            Kernel kernel(mirrored.data() + c, both);
            for (long i = 0; i < width; i++)
                store(dwide + (r * width + i) * both + c,
                      convolved(rows, i, width, both, c, kernel, _mm512_setzero_ps()));
        }
    }
}

// One picture: out = x + matrix (attention * y) + bias, attention (C) being one factor for each channel.
void project(long pixels, long channels, const float* x, const float* y, const float* attention, const float* matrix,
             const float* bias, float* out) {
    Buffer right = transposed(channels, channels, matrix);
    for (long k = 0; k < channels; k++)
        for (long n = 0; n < channels; n++) right[k * channels + n] *= attention[k];
    for (long p = 0; p < pixels; p += kTile) {
        long count = tile(pixels, p), at = p * channels;
        product(count, channels, channels, plain(y + at, channels), right.data(), out + at, false, bias);
        add_to(count * channels, x + at, out + at);
    }
}

void project_back(long pixels, long channels, const float* d, const float* y, const float* attention,
                  const float* matrix, float* dy, float* dattention, float* dmatrix, float* dbias) {
    Buffer unscaled(channels * channels);
    for (long p = 0; p < pixels; p += kTile) {
        long count = tile(pixels, p);
        const float *dout = d + p * channels, *yt = y + p * channels;
        float* dyt = dy + p * channels;
        product(count, channels, channels, plain(dout, channels), matrix, dyt);
        product(channels, channels, count, turned(yt, channels), dout, unscaled.data(), true);
        add_rows(count, channels, dout, dbias);
        for (long c = 0; c < channels; c += kLanes) {
            Lanes sum = load(dattention + c), factor = load(attention + c);
            for (long i = c; i < count * channels; i += channels) {
                Lanes value = load(dyt + i);
                sum = _mm512_fmadd_ps(value, load(yt + i), sum);
                store(dyt + i, _mm512_mul_ps(value, factor));
            }
            store(dattention + c, sum);
        }
    }
    for (long k = 0; k < channels; k++)
        for (long n = 0; n < channels; n++) dmatrix[k * channels + n] += unscaled[k * channels + n] * attention[k];
}

// The second half of the block: out = x + last gate(first norm(x) + first_bias) + last_bias.
void feed(long pixels, long channels, const float* x, const float* first, const float* first_bias, const float* last,
          const float* last_bias, float* out) {
    Buffer rise = transposed(2 * channels, channels, first), fall = transposed(channels, channels, last);
    Buffer normal(kTile * channels), scales(kTile), wide(kTile * 2 * channels);
    for (long p = 0; p < pixels; p += kTile) {
        long count = tile(pixels, p), at = p * channels;
        norm(count, channels, x + at, normal.data(), scales.data());
        product(count, 2 * channels, channels, plain(normal.data(), channels), rise.data(), wide.data(), false,
                first_bias);
        float* narrow = normal.data();  // no longer needed
        for (long i = 0; i < count; i++)
            for (long c = 0; c < channels; c += kLanes) {
                const float* pair = wide.data() + i * 2 * channels + c;
                store(narrow + i * channels + c, _mm512_mul_ps(load(pair), load(pair + channels)));
            }
        product(count, channels, channels, plain(narrow, channels), fall.data(), out + at, false, last_bias);
        add_to(count * channels, x + at, out + at);
    }
}

void feed_back(long pixels, long channels, const float* x, const float* first, const float* first_bias,
               const float* last, const float* d, float* dx, float* dfirst, float* dfirst_bias, float* dlast,
               float* dlast_bias) {
    Buffer rise = transposed(2 * channels, channels, first), normal(kTile * channels), scales(kTile);
    Buffer wide(kTile * 2 * channels), narrow(kTile * channels), dnarrow(kTile * channels);
    for (long p = 0; p < pixels; p += kTile) {
        long count = tile(pixels, p), at = p * channels;
        const float* dout = d + at;
        norm(count, channels, x + at, normal.data(), scales.data());
        product(count, 2 * channels, channels, plain(normal.data(), channels), rise.data(), wide.data(), false,
                first_bias);
        product(count, channels, channels, plain(dout, channels), last, dnarrow.data());
        for (long i = 0; i < count; i++)
            for (long c = 0; c < channels; c += kLanes) {  // the gate and its way back, in place
                float* pair = wide.data() + i * 2 * channels + c;
                Lanes a = load(pair), b = load(pair + channels), back = load(dnarrow.data() + i * channels + c);
                store(narrow.data() + i * channels + c, _mm512_mul_ps(a, b));
                store(pair, _mm512_mul_ps(back, b));
                store(pair + channels, _mm512_mul_ps(back, a));
            }
        product(channels, channels, count, turned(narrow.data(), channels), dout, dlast, true);
        add_rows(count, channels, dout, dlast_bias);
        float* dnormal = dnarrow.data();  // no longer needed
        product(count, channels, 2 * channels, plain(wide.data(), 2 * channels), first, dnormal);
        product(channels, 2 * channels, count, turned(normal.data(), channels), wide.data(), dfirst, true);
        add_rows(count, 2 * channels, wide.data(), dfirst_bias);
        norm_back(count, channels, dnormal, normal.data(), scales.data(), dout, dx + at);
    }
}
}
