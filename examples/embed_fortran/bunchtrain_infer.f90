! SPDX-License-Identifier: Apache-2.0
! The C interface of bunchtrain (bunchtrain/infer/c_api.h) for Fortran: copy this file beside yours. What functions and members
! mean stands there. Texts end in c_null_char.
module bunchtrain_infer
  use, intrinsic :: iso_c_binding
  implicit none
  public

  integer(c_int), parameter :: bunchtrain_ok = 0, bunchtrain_bad_argument = 1, bunchtrain_bad_data = 2, &
                               bunchtrain_bad_bundle = 3, bunchtrain_failed = 4

  type, bind(c) :: bunchtrain_column
    type(c_ptr) :: name = c_null_ptr
    type(c_ptr) :: unit = c_null_ptr
    type(c_ptr) :: floats = c_null_ptr    ! these, or
    type(c_ptr) :: doubles = c_null_ptr   ! these
    integer(c_int64_t) :: count = 0
    integer(c_int64_t) :: jet_stride = 0
    integer(c_int64_t) :: particle_stride = 0
  end type

  type, bind(c) :: bunchtrain_jets
    integer(c_int64_t) :: count = 0
    integer(c_int64_t) :: slots = 0
    type(c_ptr) :: row_splits = c_null_ptr
    type(c_ptr) :: particles = c_null_ptr
    type(c_ptr) :: columns = c_null_ptr
    integer(c_int64_t) :: column_count = 0
  end type

  interface
    integer(c_int) function bunchtrain_load(bundle, predictor) bind(c)
      import :: c_int, c_char, c_ptr
      character(kind=c_char), intent(in) :: bundle(*)
      type(c_ptr), intent(out) :: predictor
    end function

    subroutine bunchtrain_free(predictor) bind(c)
      import :: c_ptr
      type(c_ptr), value :: predictor
    end subroutine

    integer(c_int64_t) function bunchtrain_input_count(predictor) bind(c)
      import :: c_int64_t, c_ptr
      type(c_ptr), value :: predictor
    end function

    type(c_ptr) function bunchtrain_input(predictor, index, unit, of_particles) bind(c)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: predictor
      integer(c_int64_t), value :: index    ! from 0
      type(c_ptr), intent(out) :: unit
      integer(c_int), intent(out) :: of_particles
    end function

    integer(c_int64_t) function bunchtrain_output_count(predictor) bind(c)
      import :: c_int64_t, c_ptr
      type(c_ptr), value :: predictor
    end function

    type(c_ptr) function bunchtrain_output(predictor, index) bind(c)
      import :: c_int64_t, c_ptr
      type(c_ptr), value :: predictor
      integer(c_int64_t), value :: index    ! from 0
    end function

    integer(c_int) function bunchtrain_make_scratch(predictor, scratch) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: predictor
      type(c_ptr), intent(out) :: scratch
    end function

    subroutine bunchtrain_free_scratch(scratch) bind(c)
      import :: c_ptr
      type(c_ptr), value :: scratch
    end subroutine

    ! scores(outputs, jets)
    integer(c_int) function bunchtrain_score(predictor, jets, scores, scratch) bind(c)
      import :: bunchtrain_jets, c_double, c_int, c_ptr
      type(c_ptr), value :: predictor
      type(bunchtrain_jets), intent(in) :: jets
      real(c_double), intent(out) :: scores(*)
      type(c_ptr), value :: scratch
    end function

    type(c_ptr) function bunchtrain_last_error() bind(c)
      import :: c_ptr
    end function
  end interface

contains

  ! A text of the interface; "" for a null pointer.
  function bunchtrain_text(from) result(text)
    type(c_ptr), intent(in) :: from
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: letters(:)
    integer :: i
    text = ""
    if (.not. c_associated(from)) return
    call c_f_pointer(from, letters, [65536])
    do i = 1, size(letters)
      if (letters(i) == c_null_char) return
      text = text // letters(i)
    end do
  end function

end module
