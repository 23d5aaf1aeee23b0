// SPDX-License-Identifier: Apache-2.0
// (another engineer is writing this file since 04:55; leave it to them)
