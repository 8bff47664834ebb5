#include "handoff/integrations/admin/call_threads.h"

#include <pthread.h>

#include <future>

#include "gtest/gtest.h"

namespace handoff {
namespace {

// No thread can be made, as where a limit on them or on memory is reached: its
// stack would be larger than the address space.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    EXPECT_EQ(pthread_getattr_default_np(&before_), 0);
    pthread_attr_t huge;
    EXPECT_EQ(pthread_getattr_default_np(&huge), 0);
    EXPECT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 60), 0);
    EXPECT_EQ(pthread_setattr_default_np(&huge), 0);
    pthread_attr_destroy(&huge);
  }
  ~NoMoreThreads() {
    EXPECT_EQ(pthread_setattr_default_np(&before_), 0);
    pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

TEST(CallThreadsTest, ACallForWhichNoThreadCanBeMadeIsRefusedAndTheNextRuns) {
  CallThreads threads(/*threads=*/2, /*queue=*/2);
  {
    const NoMoreThreads none;
    EXPECT_FALSE(threads.Run([] { ADD_FAILURE() << "it was refused"; }));
  }
  std::promise<void> ran;
  EXPECT_TRUE(threads.Run([&ran] { ran.set_value(); }));
  ran.get_future().get();
}

TEST(CallThreadsTest, WhereNoSecondThreadCanBeMadeACallWaitsForTheFirst) {
  std::promise<void> go;
  std::promise<void> ran;
  CallThreads threads(/*threads=*/2, /*queue=*/1);
  ASSERT_TRUE(threads.Run([wait = go.get_future().share()] { wait.wait(); }));
  {
    const NoMoreThreads none;
    // Whether or not the first has been taken from the queue.
    EXPECT_TRUE(threads.Run([&ran] { ran.set_value(); }));
  }
  go.set_value();
  ran.get_future().get();
}

}  // namespace
}  // namespace handoff
