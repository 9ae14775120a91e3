// Means over seeds, and whether a difference between two ways is more than their noise.
#pragma once
#include <vector>

namespace graft::transfer {

double mean_of(const std::vector<double>& values);
// Of a sample (divided by n - 1); NaN for fewer than two values.
double standard_deviation(const std::vector<double>& values);

// Student's t-test of paired values, two-sided.
struct PairedTest {
  double difference = 0;  // mean of b - a
  double t = 0, p = 1;    // NaN for fewer than two pairs; p = 0 where all differences are equal and not zero
};
PairedTest paired_t_test(const std::vector<double>& a, const std::vector<double>& b);

// P(|T| >= t) for Student's distribution with `degrees` of freedom.
double student_p(double t, double degrees);

}  // namespace graft::transfer
